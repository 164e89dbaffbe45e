"""What every target agrees on of a tree: which folders come first, and what is too many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.row import Row
from g3zkp_maint.backup.selection import Selection, in_walk_order
from g3zkp_maint.errors import RestoreError


def folders_above(top: str) -> list[str]:
    """The folders from the root down to the one that holds `top`."""
    return [parent.as_posix() for parent in reversed(PurePosixPath(top).parents) if parent.name]


def in_the_way(path: str) -> RestoreError:
    """The error for something that is no folder where one must be, and that was not selected."""
    return RestoreError(
        f"{path!r} is no folder, and a part of the backup is to go below it; move it away, or select it as well"
    )


def others_than(found: Iterable[Row], listed: Iterable[Row], selection: Selection | None) -> list[Row]:
    """Of `found`, the rows of a walk, those to be removed: of the selection, not in the snapshot, and not below what the
    backup could not read."""
    wanted = {row.path.rstrip("/") for row in listed}
    shut = tuple(row.path for row in listed if row.kind == rows.LEFT_OUT and row.path.endswith("/"))
    selected = found if selection is None else (row for row in found if selection.matches(row.path))
    return [row for row in selected if row.path not in wanted and not (shut and row.path.startswith(shut))]


def folders_deepest_first(listed: Iterable[Row], parents: Iterable[Row], new: AbstractSet[str]) -> Sequence[Row]:
    """The folders whose metadata is to be set: those of the snapshot, and the parents that were made."""
    made = [row for row in parents if row.path in new]
    folders = [row for row in listed if row.kind == rows.FOLDER]
    return list(reversed(in_walk_order([*made, *folders]) if made else folders))
