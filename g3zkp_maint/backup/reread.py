"""The scheduled re-reading of all that is stored, so that a bit that has flipped is found while other copies are whole.

A random sample never covers everything (design 8, rule 4). Here each object has a due date, its last reading (or its
making) plus `days`, and each day reads as much as the tightest of all due dates asks for: the share that, read every day,
comes to the end of what is due by then in time. In a store that stays as it is that is 1/(`days` - 1) of its bytes a
day: one day is held back, so that a run some hours late still keeps the promise. After missed days it is more, just as
much as is needed. So: whatever arrives or leaves, with a run a day everything is read at least once in `days` days, and a
day's run reads its budget and at most one more object.

Reading needs no key: the SHA-256 of the stored bytes against the manifests', which are checked by their signatures.
Sizes of all objects of all backups are compared each day, from one listing; and what is small and signed, beside the
manifests prune's ledger and the evidence of drills, is read each day.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from g3zkp_maint.backup.evidence import newest_first
from g3zkp_maint.backup.ledger import read_shelf
from g3zkp_maint.backup.manifest import FILE_NAME, Archive, Index, Manifest
from g3zkp_maint.backup.name import BackupName
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.touched import Touched, touched
from g3zkp_maint.backup.verify import check_stored, needed
from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.checkpoint import Checkpoint
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import ArchiveCorrupt, ManifestInvalid, ObjectMissing
from g3zkp_maint.progress import NoProgress, Progress

_DAY = timedelta(days=1)
#: So much later than today's may a further day's run begin.
_LATE = timedelta(hours=6)
#: How often what was read is put on record: a killed run reads so much again.
_SAVE_SECONDS = 20.0
_FACT = "read"


@dataclass(frozen=True, slots=True)
class Shelved:
    """An object as the planner sees it: `size` in bytes, `seen` when it was last read, or else made."""

    key: str
    size: int
    seen: datetime


@dataclass(frozen=True, slots=True)
class RereadPlan:
    """What is read today, in that order; `budget` in bytes is what the due dates ask for, of `total` bytes, and
    `planned` what is read of it; `overdue` objects should have been read before."""

    today: tuple[str, ...]
    budget: int
    planned: int
    total: int
    overdue: int


def plan_reread(objects: Iterable[Shelved], *, now: datetime, days: int, most_bytes: int | None = None) -> RereadPlan:
    """Pure. See the module. `most_bytes` may be less than the due dates ask for: then they are not kept, and what was read
    longest ago still comes first."""
    queue = sorted(objects, key=lambda one: (one.seen, one.key))
    budget, due_bytes = 0, 0
    for one in queue:
        due_bytes += one.size
        left = max(1, math.floor((one.seen + days * _DAY - now - _LATE) / _DAY) + 1)
        budget = max(budget, math.ceil(due_bytes / left))
    today: list[str] = []
    planned = 0
    limit = budget if most_bytes is None else min(budget, most_bytes)
    for one in queue:
        # Empty objects cost nothing and are read along with the rest of their day.
        if planned >= limit and (one.size or one.seen + days * _DAY - now >= _DAY + _LATE):
            break
        today.append(one.key)
        planned += one.size
    overdue = sum(now - one.seen > days * _DAY for one in queue)
    return RereadPlan(tuple(today), budget, planned, sum(one.size for one in queue), overdue)


# -- the act ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RereadSite:
    """What it works with. `checkpoint` holds when each object was last read, from one run to the next; `most_bytes` are
    read in one run, and at most one object more."""

    repository: Repository
    clock: Clock
    guard: Guard
    checkpoint: Checkpoint
    days: int
    progress: Progress = field(default_factory=NoProgress)
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Reread:
    """What a run has read, of how many objects and bytes there are, and what it found. `problems` name objects and
    backups, and no path; `touched` are the files. `remark` says where the promise of `days` days cannot be kept."""

    objects: int
    bytes: int
    of_objects: int
    of_bytes: int
    backups: int
    overdue: int
    remark: str = ""
    problems: tuple[str, ...] = ()
    touched: tuple[Touched, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        counts = ("objects", "bytes", "of_objects", "of_bytes", "backups", "overdue")
        told = {"remark": self.remark, "problems": list(self.problems)}
        outcome = "failed" if self.problems else "ok"
        return {"outcome": outcome, **{name: getattr(self, name) for name in counts}, **told}


@dataclass
class _Shelf:
    """All that manifests name: by key the object as each manifest that needs it has it."""

    wanted: dict[str, tuple[Archive | Index, list[Manifest]]] = field(default_factory=dict)
    present: dict[str, datetime] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    backups: int = 0


def reread(site: RereadSite) -> Reread:
    """Reads today's part. Raises StoreUnavailable, LeaseLost; what is damaged is told in the result.

    A damaged object is not on record as read: every run reads it again, and tells of it, until it is gone or whole.
    """
    shelf = _look(site.repository)
    known = {key: float(at) for key, at in site.checkpoint.load().get(_FACT, {}).items() if key in shelf.present}
    plan = plan_reread(_shelved(shelf, known), now=site.clock.now(), days=site.days, most_bytes=site.most_bytes)
    damaged, size = _read(site, shelf, plan, known)
    problems = [*shelf.problems, *(_told(key, shelf) for key in damaged)]
    return Reread(
        objects=len(plan.today),
        bytes=size,
        of_objects=len(shelf.present),
        of_bytes=plan.total,
        backups=shelf.backups,
        overdue=plan.overdue,
        remark=_remark(site, plan),
        problems=tuple(problems),
        touched=tuple(one for key in damaged for one in _touched(site.repository, shelf, key)),
    )


def require_whole(found: Reread, *, second: bool = False) -> None:
    """Raises ArchiveCorrupt, with all that is wrong; `second`: in the second store."""
    if found.problems and second:
        raise ArchiveCorrupt(
            f"the second store is damaged: {'; '.join(found.problems)}. Remove what is damaged there, and where the store "
            "has it whole bring it again with: g3zkp-maint backup copy NAME"
        )
    if found.problems:
        raise ArchiveCorrupt(
            f"the store is damaged: {'; '.join(found.problems)}. Take a full backup now; "
            "`g3zkp-maint backup verify NAME --mode full` names the files"
        )


def _remark(site: RereadSite, plan: RereadPlan) -> str:
    if plan.planned >= plan.budget:
        return ""
    return (
        f"{plan.budget} bytes were to be read today for each to be read again within verify.reread_days={site.days}, and "
        f"verify.reread_bytes={site.most_bytes} allows no more than {plan.planned}; raise the one or the other"
    )


def _look(repository: Repository) -> _Shelf:
    shelf = _Shelf()
    listed = {repository.below(info.key): info for info in repository.store.list(repository.full_key(""))}
    for found in repository.manifests():
        shelf.backups += 1
        if isinstance(found, ManifestInvalid):
            shelf.problems.append(str(found))
            continue
        for one in needed(found):
            shelf.wanted.setdefault(one.key, (one, []))[1].append(found)
    for key, (one, manifests) in shelf.wanted.items():
        info = listed.get(key)
        if info is not None and info.size == one.size:
            shelf.present[key] = info.modified
        elif _is_committed(manifests, listed):
            what = "is missing" if info is None else f"has {info.size} bytes in place of {one.size}"
            shelf.problems.append(f"{key} {what}, which {_names(manifests)} need")
    shelf.problems.extend(read_shelf(repository).problems)
    shelf.problems.extend(kept.why for kept in newest_first(repository) if kept.evidence is None)
    return shelf


def _is_committed(manifests: Iterable[Manifest], listed: Mapping[str, object]) -> bool:
    """Whether one of the backups was there when the store was listed: objects of a later one are not in the listing."""
    return any(f"{BackupName.parse(one.name).folder}/{FILE_NAME}" in listed for one in manifests)


def _shelved(shelf: _Shelf, known: Mapping[str, float]) -> list[Shelved]:
    def seen(key: str, made: datetime) -> datetime:
        return datetime.fromtimestamp(known[key], UTC) if key in known else made

    return [Shelved(key, shelf.wanted[key][0].size, seen(key, made)) for key, made in shelf.present.items()]


def _read(site: RereadSite, shelf: _Shelf, plan: RereadPlan, known: dict[str, float]) -> tuple[list[str], int]:
    damaged: list[str] = []
    size, saved = 0, site.clock.monotonic()
    try:
        for number, key in enumerate(plan.today):
            site.guard.ensure_held()
            site.progress.step(f"read {number + 1}/{len(plan.today)}")
            try:
                check_stored(site.repository, shelf.wanted[key][0], site.progress)
                known[key] = site.clock.now().timestamp()
            except (ArchiveCorrupt, ObjectMissing):
                damaged.append(key)
            size += shelf.wanted[key][0].size
            if site.clock.monotonic() - saved > _SAVE_SECONDS:
                site.checkpoint.save(**{_FACT: known})
                saved = site.clock.monotonic()
    finally:
        site.checkpoint.save(**{_FACT: known})
    return damaged, size


def _told(key: str, shelf: _Shelf) -> str:
    needed_by = _names(shelf.wanted[key][1])
    return f"{key} was changed or lost after it was stored (its SHA-256 is not the manifest's), {needed_by} need it"


def _names(manifests: list[Manifest]) -> str:
    """The newest few."""
    names = sorted({one.name for one in manifests}, key=BackupName.parse, reverse=True)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _touched(repository: Repository, shelf: _Shelf, key: str) -> list[Touched]:
    """In the newest backup that needs it: there it matters first."""
    manifests = sorted(shelf.wanted[key][1], key=lambda one: BackupName.parse(one.name))
    newest = manifests[-1]
    damaged = [one for one in needed(newest) if one.key == key]
    return touched(repository, newest, damaged)
