"""The source that is a folder: the messenger's volume, mounted here."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.confined import Confined
from g3zkp_maint.backup.row import Row, unescape
from g3zkp_maint.backup.scan import scan
from g3zkp_maint.backup.source import CHANGED, GREW, READINGS, SMALL, OpenFile, Status, Whole

_PIECE = 4 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class MountedSource:
    """See Source. `root` is the messenger's data folder."""

    root: Path

    def scan(self, path: str) -> Iterator[Row]:
        """See Source.scan."""
        return scan(self.root, path)

    def files(self, worklist: Iterable[Row]) -> Generator[tuple[Row, OpenFile | OSError | None]]:
        """See Source.files."""
        with Confined(self.root) as confined:
            for row in worklist:
                if row.kind not in rows.WITH_CONTENT and not (row.kind == rows.HARDLINK and _is_parted(confined, row)):
                    yield row, None
                    continue
                try:
                    folder, name = confined.locate(unescape(row.path))
                    fd = os.open(name, _OPEN, dir_fd=folder)
                except OSError as error:
                    yield row, error
                    continue
                try:
                    yield row, _File(fd, row.digest)
                finally:
                    os.close(fd)


class _File:
    __slots__ = ("_digest", "_fd", "_found")

    def __init__(self, fd: int, digest: str) -> None:
        self._fd = fd
        self._digest = digest

    def whole(self) -> Whole | None:
        """See OpenFile.whole. Read until a reading finds it unchanged."""
        fd = self._fd
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.ENOENT, "replaced by something that is no file")
        data, only_grew = b"", True
        for _ in range(READINGS):
            if found.st_size > SMALL:
                return None
            earlier, data = data, _read_once(fd, found.st_size)
            after = os.fstat(fd)
            if len(data) == found.st_size and _is_same(found, after):
                return Whole(found, data)
            only_grew = only_grew and len(data) == found.st_size and data.startswith(earlier)
            found = after
            os.lseek(fd, 0, os.SEEK_SET)
        return None if found.st_size > SMALL else Whole(found, data, GREW if only_grew else CHANGED)

    def known(self) -> Status | None:
        """See OpenFile.known."""
        if not self._digest:
            return None
        found = os.fstat(self._fd)
        hasher = blake3()
        os.lseek(self._fd, 0, os.SEEK_SET)
        while piece := os.read(self._fd, _PIECE):
            hasher.update(piece)
        is_known = hasher.hexdigest() == self._digest and _is_same(found, os.fstat(self._fd))
        return found if is_known else None

    def begin(self) -> Status:
        """See OpenFile.begin."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._found = os.fstat(self._fd)
        return self._found

    def piece(self, most: int) -> bytes:
        """See OpenFile.piece."""
        return os.read(self._fd, most)

    def end(self) -> bool:
        """See OpenFile.end."""
        return _is_same(self._found, os.fstat(self._fd))


def _is_parted(confined: Confined, row: Row) -> bool:
    """Whether a hard link no longer shares its content with its first path. Then its row becomes that of a file."""
    try:
        found = [_inode(confined, path) for path in (row.path, row.link)]
    except OSError:
        found = [0, 1]
    if found[0] == found[1]:
        return False
    row.kind, row.link = rows.FILE, ""
    return True


def _inode(confined: Confined, path: str) -> int:
    folder, name = confined.locate(unescape(path))
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino


def _read_once(fd: int, size: int) -> bytes:
    """Up to `size` bytes: fewer where the file became shorter, and no more where it grew. One call for most files."""
    data = os.read(fd, size + 1)
    return data if len(data) <= size else data[:size]


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return (
        one.st_size == other.st_size and one.st_mtime_ns == other.st_mtime_ns and one.st_ctime_ns == other.st_ctime_ns
    )
