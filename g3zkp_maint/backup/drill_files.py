"""A restored tree against the index: an independent read, which takes nothing of what the extractor has checked.

Both come in walk order, so the two are compared like two sorted lists, in bounded memory. Compared are kinds, modes,
sizes, contents (BLAKE3), targets of links, owners where we may set them, and that nothing is there beside. Times are
not: a scratch place's file system may keep them coarser than the messenger's.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.confined import Confined
from g3zkp_maint.backup.row import Row, unescape, walk_key
from g3zkp_maint.backup.scan import scan_below
from g3zkp_maint.progress import Progress

_PIECE = 1 << 20
#: Paths that are named; all are counted.
_SHOWN = 20


@dataclass
class Compared:
    """Paths and bytes that were compared; what differs, counted by kind, and the first of the paths with what it is."""

    entries: int = 0
    bytes: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    paths: list[str] = field(default_factory=list)

    def differs(self, path: str, what: str) -> None:
        self.differences[what] += 1
        if len(self.paths) < _SHOWN:
            self.paths.append(f"{path}: {what}")


def compare(root: Path, top: str, listed: Iterator[Row], *, progress: Progress) -> Compared:
    """`listed` are the rows of the component whose folder is `top`. Raises OSError."""
    found = Compared()
    with Confined(root) as confined:
        wanted = (row for row in listed if row.kind != rows.LEFT_OUT)
        for row, there in _paired(wanted, scan_below(confined, os.fsencode(top))):
            if row is None:
                found.differs(there.path if there else "", "not in the backup")
            elif there is None:
                found.differs(row.path, "missing")
            else:
                _compare_one(confined, row, there, found, progress)
    return found


def _paired(wanted: Iterator[Row], there: Iterator[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """What has one path on both sides comes as a pair, the rest alone."""
    left, right = next(wanted, None), next(there, None)
    while left is not None or right is not None:
        order = _order(left, right)
        yield (left if order <= 0 else None, right if order >= 0 else None)
        left, right = (
            next(wanted, None) if order <= 0 else left,
            next(there, None) if order >= 0 else right,
        )


def _order(left: Row | None, right: Row | None) -> int:
    if left is None or right is None:
        return 1 if left is None else -1
    one, other = walk_key(left.path), walk_key(right.path)
    return (one > other) - (one < other)


def _compare_one(confined: Confined, row: Row, there: Row, found: Compared, progress: Progress) -> None:
    found.entries += 1
    if _kind(row) != _kind(there):
        found.differs(row.path, "of another kind")
        return
    if row.kind != rows.SYMLINK and row.mode != there.mode:
        found.differs(row.path, "of another mode")
    if os.geteuid() == 0 and (row.uid, row.gid) != (there.uid, there.gid):
        found.differs(row.path, "of another owner")
    if row.kind in {rows.SYMLINK, rows.HARDLINK} and row.link != there.link:
        found.differs(row.path, "another link")
    if row.kind in rows.WITH_CONTENT:
        _compare_content(confined, row, there, found)
        progress.advance(there.size, 1)


def _compare_content(confined: Confined, row: Row, there: Row, found: Compared) -> None:
    found.bytes += there.size
    if row.size != there.size:
        found.differs(row.path, "of another size")
    elif row.digest != _digest(confined, row):
        found.differs(row.path, "other content")


def _kind(row: Row) -> str:
    """Whether a file has holes is the file system's business."""
    return rows.FILE if row.kind == rows.SPARSE else row.kind


def _digest(confined: Confined, row: Row) -> str:
    folder, name = confined.locate(unescape(row.path))
    hasher = blake3()
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        while piece := os.read(fd, _PIECE):
            hasher.update(piece)
    finally:
        os.close(fd)
    return hasher.hexdigest()
