"""The files of an audit log: the one that is written, and those that it was rotated into beside it, back to a time."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path
from typing import Self


@dataclass(slots=True)
class LogFiles:
    """Lines of the newest files, the newest file first, of `most_bytes` together. Used as a context.

    `is_covered`: there is an older file that nothing was written to since the time asked for, so all of that time is in
    those that are read. `is_cut`: more was there than was to be read. `unreadable` are files beside it, and why.
    """

    path: Path
    since: datetime
    most_bytes: int
    is_covered: bool = False
    is_cut: bool = False
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    _open: list[BufferedIOBase] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Raises OSError where the file itself cannot be read."""
        with ExitStack() as stack:
            # First: if it is rotated now, its lines are read twice, and not never.
            self._open.append(stack.enter_context(self.path.open("rb")))
            left = self.most_bytes - self._cut(self._open[0], self.most_bytes)
            for written, older in self._rotated():
                if written < self.since:
                    self.is_covered = not self.is_cut and not self.unreadable
                    break
                if left <= 0:
                    self.is_cut = True
                    break
                left -= self._added(older, left, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[bytes]:
        for file in self._open:
            yield from file

    def _added(self, older: Path, left: int, stack: ExitStack) -> int:
        try:
            opened = gzip.open if older.suffix == ".gz" else open
            file = stack.enter_context(opened(older, "rb"))
            read = self._cut(file, left)
        except FileNotFoundError:  # removed since it was listed
            return 0
        except (OSError, EOFError, zlib.error) as error:
            self.unreadable.append((older.name, str(error)))
            return 0
        self._open.append(file)
        return read

    def _cut(self, file: BufferedIOBase, left: int) -> int:
        """Goes to where its last `left` bytes begin; how many there are to be read."""
        size = file.seek(0, 2)
        file.seek(max(0, size - left))
        if size > left:
            self.is_cut = True
            file.readline()  # a part of a line
        return min(size, left)

    def _rotated(self) -> list[tuple[datetime, Path]]:
        """With the time of their last write, the newest first; named as kube-apiserver does it, or logrotate."""
        stem, name, suffix = (re.escape(one) for one in (self.path.stem, self.path.name, self.path.suffix))
        pattern = re.compile(rf"({stem}-\d{{4}}-\d\d-\d\dT[\d.-]+{suffix}|{name}[.-]\d+)(\.gz)?")
        found = []
        for one in self.path.parent.iterdir():
            if pattern.fullmatch(one.name):
                try:
                    found.append((datetime.fromtimestamp(one.stat().st_mtime, UTC), one))
                except FileNotFoundError:  # removed since it was listed
                    continue
        return sorted(found, reverse=True)
