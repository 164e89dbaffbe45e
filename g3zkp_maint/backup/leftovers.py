"""Which objects in the store belong to nothing any more: pure.

- Of a backup that prune took: all that is left of it.
- Of a run that died before its manifest: all of it, when the newest object is old enough.
- Beside a manifest that is believed: what it does not name, when that is old enough (an attempt that lost, `work/`).

Never: what any manifest names, or claims to; what a run under way builds on; a folder whose manifest is not believed; and
a folder that has archives, no manifest, and no `work/` either. No dead run leaves that. It was a backup whose manifest
somebody removed: to sweep it would turn a mistake into a loss.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from g3zkp_maint.backup.inventory import WORK, Folder, Inventory
from g3zkp_maint.stores.base import ObjectInfo


@dataclass(frozen=True, slots=True)
class Leftover:
    """An object to be removed, by its key below the prefix; `size` in bytes."""

    key: str
    size: int
    why: str


@dataclass(frozen=True, slots=True)
class Leftovers:
    """In the order in which they are to be removed; and what is left alone although it looks like one, with why."""

    objects: tuple[Leftover, ...]
    problems: tuple[str, ...]


def find_leftovers(
    inventory: Inventory, *, pruned: Collection[str], before: datetime, awaited: Collection[str] = ()
) -> Leftovers:
    """`pruned` names the backups that prune took; leftovers of dead runs are from `before` that moment. `awaited` are
    backups whose manifest may still come: of a second store those that the first one has."""
    needed = inventory.needed_keys()
    found: list[Leftover] = []
    problems: list[str] = []
    for name, folder in sorted(inventory.folders.items()):
        ours = {rest: info for rest, info in folder.ours().items() if f"{folder.name.folder}/{rest}" not in needed}
        if not ours:
            continue
        if folder.has_manifest:
            seen = inventory.backups.get(name)
            is_believed = seen is not None and seen.manifest is not None
            old = {rest: info for rest, info in ours.items() if info.modified < before}
            found.extend(_leftovers(folder, old, "no manifest names it") if is_believed else [])
        elif name in pruned:
            found.extend(_leftovers(folder, ours, "its backup was pruned"))
        elif folder.newest < before and not _was_a_backup(folder):
            found.extend(_leftovers(folder, ours, "its run died"))
        elif folder.newest < before and name not in awaited:
            problems.append(
                f"{name} has archives and no manifest, and prune did not take it: put its manifest back, or delete "
                f"{folder.name.folder}/ by hand"
            )
    return Leftovers(tuple(found), tuple(problems))


def _was_a_backup(folder: Folder) -> bool:
    return not any(rest.startswith(WORK) for rest in folder.objects)


def _leftovers(folder: Folder, objects: Mapping[str, ObjectInfo], why: str) -> list[Leftover]:
    """A killed sweep must leave a folder that the next one knows for what it is, and no run may take up the half of it:
    first the markers that call an archive done, then the archives, then the rest of `work/`, last the plan."""

    def rank(rest: str) -> tuple[int, str]:
        if rest.endswith(".done.json"):
            return (0, rest)
        if not rest.startswith(WORK):
            return (1, rest)
        return (3 if rest == f"{WORK}plan.json" else 2, rest)

    return [Leftover(f"{folder.name.folder}/{rest}", objects[rest].size, why) for rest in sorted(objects, key=rank)]
