"""What differs between two snapshots: pure. Both indexes are read once, side by side; memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.row import Row, walk_key


class Change(StrEnum):
    """`metadata`: mode, owner, time or the name a hard link has; the content is the same. A hard link's content is told
    at the first path of its file. What a backup left out counts as other content, unless both left it out."""

    ADDED = "added"
    REMOVED = "removed"
    CONTENT = "content"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class Difference:
    """Sizes in bytes; None where the path is not there."""

    change: Change
    path: str
    before: int | None
    after: int | None


def differences(before: Iterable[Row], after: Iterable[Row]) -> Iterator[Difference]:
    """In walk order, in which both must be."""
    for one, other in _pairs(iter(before), iter(after)):
        if one is None and other is not None:
            yield Difference(Change.ADDED, other.path, None, other.size)
        elif one is not None and other is None:
            yield Difference(Change.REMOVED, one.path, one.size, None)
        elif one is not None and other is not None and (change := _change(one, other)) is not None:
            yield Difference(change, one.path, one.size, other.size)


def _pairs(left: Iterator[Row], right: Iterator[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        order = _order(one, other)
        yield (one if order <= 0 else None, other if order >= 0 else None)
        if order <= 0:
            one = next(left, None)
        if order >= 0:
            other = next(right, None)


def _order(one: Row | None, other: Row | None) -> int:
    """Which of two comes first in walk order: below 0 for `one`, above for `other`; 0 for the same path."""
    if one is None or other is None:
        return 1 if one is None else -1
    left, right = walk_key(one.path), walk_key(other.path)
    return (left > right) - (left < right)


def _change(one: Row, other: Row) -> Change | None:
    if _content(one) != _content(other):
        return Change.CONTENT
    if one.kind == rows.LEFT_OUT:
        return None
    return Change.METADATA if _metadata(one) != _metadata(other) else None


def _content(row: Row) -> tuple[str, ...]:
    if row.kind in rows.WITH_CONTENT:
        return (rows.FILE, row.digest)
    return (row.kind, row.link) if row.kind == rows.SYMLINK else (row.kind,)


def _metadata(row: Row) -> tuple[object, ...]:
    return (row.mode, row.uid, row.gid, row.mtime_ns, row.link)
