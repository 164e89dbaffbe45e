"""What a restore is going to do, and the confirmation that it asks for: pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g3zkp_maint import settings
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.verify import needed
from g3zkp_maint.errors import BadInput, ConfirmationRequired
from g3zkp_maint.platforms.base import MESSENGER, REDIS

if TYPE_CHECKING:  # which itself has to know a safety backup
    from g3zkp_maint.backup.selection import Selected

#: The target that is no folder: the messenger itself, with all that belongs to it.
MESSENGER_TARGET = "messenger"
#: Runs of backups that a restore takes first begin with this; such a backup is nobody's parent.
SAFETY_PREFIX = "safety:"


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """`target` is MESSENGER_TARGET or a folder. `token` confirms exactly this backup, of it these components and paths,
    onto exactly this target. Sizes in bytes: `read_bytes` is what comes from the store, `bytes` what the selected files
    have in all. `paths` are the globs of a partial restore, () for whole components; `archives` (by id, None: all) are
    those that hold what they select."""

    backup: str
    target: str
    components: tuple[str, ...]
    paths: tuple[str, ...]
    archives: tuple[int, ...] | None
    steps: tuple[str, ...]
    objects: int
    read_bytes: int
    entries: int
    bytes: int
    token: str

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def plan_restore(
    manifest: Manifest,
    *,
    components: Sequence[str] = (),
    to: Path | None = None,
    safety: bool = True,
    paths: Sequence[str] = (),
    selected: Sequence[Selected] = (),
) -> RestorePlan:
    """The plan. `components` empty: all data. The cluster's objects are restored only where they are named, as they
    change what runs: over a lively namespace one wants its data back, and not last week's Deployment. With `paths`,
    `selected` is what those select, and the components are the ones that it is of. Raises BadInput for a component that
    is unknown or does not go there."""
    chosen = _chosen(manifest, components, is_elsewhere=to is not None)
    target = MESSENGER_TARGET if to is None else str(to)
    if paths:
        chosen = tuple(one.component for one in selected)
        sizes = [(len(one.rows), one.bytes) for one in selected]
        archives = frozenset[int]().union(*(one.archives for one in selected))
    else:
        counts = [manifest.component(name).counts for name in chosen]
        sizes, archives = [(count.entries, count.bytes) for count in counts], None
    objects = list(needed(manifest, frozenset(chosen), archives))
    return RestorePlan(
        backup=manifest.name,
        target=target,
        components=chosen,
        paths=tuple(paths),
        archives=None if archives is None else tuple(sorted(archives)),
        steps=_steps(manifest, chosen, is_elsewhere=to is not None, safety=safety),
        objects=len(objects),
        read_bytes=sum(found.size for found in objects),
        entries=sum(entries for entries, _ in sizes),
        bytes=sum(size for _, size in sizes),
        token=confirmation(manifest, target, chosen, paths),
    )


def held_down(plan: RestorePlan) -> frozenset[str]:
    """The workloads that are down while their data is restored: one that is made meanwhile has no instance yet."""
    down = {"stop": MESSENGER, "redis": REDIS}
    return frozenset(name for step, name in down.items() if step in plan.steps)


def declared_names(place: settings.Platform) -> dict[str, str]:
    """What the workloads that a restore deals with are called in a cluster."""
    return {MESSENGER: place.kubernetes.messenger, REDIS: place.kubernetes.redis}


def confirmation(manifest: Manifest, target: str, components: Sequence[str], paths: Sequence[str]) -> str:
    """The token, which anybody who has seen the plan knows: it guards against the wrong name, not against malice."""
    signature = manifest.signature.ed25519 if manifest.signature else ""
    meant = json.dumps(["restore", manifest.name, target, signature, sorted(components), sorted(paths)])
    return hashlib.sha256(meant.encode()).hexdigest()[:12]


def require_confirmation(plan: RestorePlan, token: str | None) -> None:
    """Raises ConfirmationRequired, which tells the token, unless it was given."""
    if token != plan.token:
        raise ConfirmationRequired(
            f"restoring {plan.backup} onto {plan.target} replaces {', '.join(plan.paths or plan.components)} there; "
            f"confirm it with the token {plan.token}"
        )


def _chosen(manifest: Manifest, components: Sequence[str], *, is_elsewhere: bool) -> tuple[str, ...]:
    kinds = {component.name: component.kind for component in manifest.components}
    possible = [name for name, kind in kinds.items() if kind == "files" or (kind == "redis" and not is_elsewhere)]
    for name in components:
        kind = manifest.component(name).kind
        if is_elsewhere and kind != "files":
            raise BadInput(
                f"component {name} goes into the running {'cluster' if kind == 'kubernetes' else 'Redis'} only; "
                f"`g3zkp-maint backup extract {manifest.name} {name}` gives its content"
            )
    return tuple(components) or tuple(possible)


def _steps(manifest: Manifest, chosen: Sequence[str], *, is_elsewhere: bool, safety: bool) -> tuple[str, ...]:
    if is_elsewhere:
        return ("check", "files")
    kinds = {manifest.component(name).kind for name in chosen}
    before = ("check", *(["safety"] if safety else []))
    if kinds == {"kubernetes"}:
        return (*before, "objects", "health")  # nothing has to be down for it: what changes is rolled out
    # Objects before data: what is to be started with it must be there. And after the stop, as workloads that are made
    # have no instance until their data is whole.
    middle = [
        step for step, kind in (("objects", "kubernetes"), ("files", "files"), ("redis", "redis")) if kind in kinds
    ]
    return (*before, "stop", *middle, "start", "health")
