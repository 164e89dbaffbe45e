"""One archive's content, written to files: driven by the index, not by the tar headers.

The index says at which offset of the plain stream each content starts, so nothing is parsed and every byte that reaches
a file is checked against its BLAKE3. A file that is there already is replaced, never written through: its other hard
links keep their content. Only whole, checked files get their times; one that a crash cut short is seen by its digest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.confined import Confined
from g3zkp_maint.backup.manifest import Archive
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row, unescape
from g3zkp_maint.backup.sealing import unseal
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import ArchiveCorrupt
from g3zkp_maint.progress import Progress

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HOLE = 64 << 10
_ZEROS = bytes(_HOLE)


def extract(
    repository: Repository, archive: Archive, wanted: Sequence[Row], root: Path, *, guard: Guard, progress: Progress
) -> int:
    """Writes the content of `wanted` (rows in this archive, by offset) below `root`, whose folders must exist.

    Returns how many owners could not be set (no permission). Raises ArchiveCorrupt, naming archive and file; LeaseLost;
    OSError of the target, as it is.
    """
    metadata = Metadata()
    with Confined(root) as confined:
        extractor = Extractor(archive, wanted, lambda row: _File(confined, row, guard, metadata), progress)
        try:
            unseal(
                repository.store.get(repository.full_key(archive.key)),
                extractor.feed,
                identities=repository.keyring.archive_identities(),
                what=archive.key,
                plain_size=archive.plain_size,
            )
            extractor.finish()
        finally:
            extractor.close()
    return metadata.owners_not_set


class Metadata:
    """Sets mode, owner and times; counts the owners that it may not set."""

    def __init__(self) -> None:
        self.owners_not_set = 0

    def set(self, target: int, row: Row) -> None:
        """On an open descriptor. The owner comes first: chown clears set-user-id bits."""
        self.set_owner(target, row)
        os.fchmod(target, row.mode)
        os.utime(target, ns=(row.mtime_ns, row.mtime_ns))

    def set_owner(self, target: int, row: Row) -> None:
        # Looked at, not assumed: a file that was there may be anybody's, and a set-group-id folder gives its own group.
        found = os.fstat(target)
        if (found.st_uid, found.st_gid) == (row.uid, row.gid):
            return
        try:
            os.fchown(target, row.uid, row.gid)
        except PermissionError:
            self.owners_not_set += 1


class NewFile(Protocol):
    """A file being written under its own name, in place of whatever was there."""

    def write(self, data: memoryview) -> None: ...

    def end(self) -> None:
        """Gives it its metadata: its content is whole, and that of its row."""
        ...

    def close(self) -> None: ...


class Extractor:
    """Takes the plain stream in pieces and cuts it at the offsets of the wanted rows; `new` begins a file."""

    def __init__(
        self, archive: Archive, wanted: Sequence[Row], new: Callable[[Row], NewFile], progress: Progress
    ) -> None:
        self._archive = archive
        self._wanted = iter(wanted)
        self._new = new
        self._progress = progress
        self._position = 0
        self._row = next(self._wanted, None)
        self._file: NewFile | None = None
        self._hasher = blake3()

    def feed(self, piece: bytes) -> None:
        start, end = self._position, self._position + len(piece)
        view = memoryview(piece)
        while self._row is not None and self._row.offset < end:
            row = self._row
            stop = row.offset + row.size
            part = view[max(row.offset - start, 0) : stop - start]
            if self._file is None and stop <= end:
                self._whole(row, part)
            else:
                self._part(row, part, is_last=stop <= end)
            if stop > end:
                break
            self._row = next(self._wanted, None)
        self._position = end

    def finish(self) -> None:
        if self._row is not None:
            raise self._corrupt(self._row, "ends before it")

    def close(self) -> None:
        """Closes a file that an error left half written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _whole(self, row: Row, data: memoryview) -> None:
        if blake3(data).hexdigest() != row.digest:
            raise self._corrupt(row, "holds other bytes for it than were backed up")
        file = self._new(row)
        try:
            file.write(data)
            file.end()
        finally:
            file.close()
        self._progress.advance(row.size, 1)

    def _part(self, row: Row, data: memoryview, *, is_last: bool) -> None:
        if self._file is None:
            self._file, self._hasher = self._new(row), blake3()
        file = self._file
        self._hasher.update(data)
        file.write(data)
        if not is_last:
            return
        if self._hasher.hexdigest() != row.digest:
            raise self._corrupt(row, "holds other bytes for it than were backed up")
        file.end()
        self.close()
        self._progress.advance(row.size, 1)

    def _corrupt(self, row: Row, what: str) -> ArchiveCorrupt:
        return ArchiveCorrupt(
            f"{self._archive.key} {what}: {row.path!r}; use another backup, or the copy in another store"
        )


class _File:
    """See NewFile."""

    def __init__(self, confined: Confined, row: Row, guard: Guard, metadata: Metadata) -> None:
        guard.ensure_held()
        self._row = row
        self._guard = guard
        self._metadata = metadata
        folder, name = confined.locate(unescape(row.path))
        try:
            self._fd = os.open(name, _CREATE, 0o600, dir_fd=folder)
        except FileExistsError:
            os.unlink(name, dir_fd=folder)
            self._fd = os.open(name, _CREATE, 0o600, dir_fd=folder)
        self._is_sparse = row.kind == rows.SPARSE

    def write(self, data: memoryview) -> None:
        if self._is_sparse:
            self._write_with_holes(data)
            return
        while data:
            data = data[os.write(self._fd, data) :]

    def _write_with_holes(self, data: memoryview) -> None:
        for start in range(0, len(data), _HOLE):
            piece = data[start : start + _HOLE]
            if piece == _ZEROS[: len(piece)]:
                os.lseek(self._fd, len(piece), os.SEEK_CUR)
                continue
            while piece:
                piece = piece[os.write(self._fd, piece) :]

    def end(self) -> None:
        if self._is_sparse:
            os.ftruncate(self._fd, self._row.size)
        # Again: whoever took over while this process was stopped may have found the file right, and kept it.
        self._guard.ensure_held()
        self._metadata.set(self._fd, self._row)

    def close(self) -> None:
        os.close(self._fd)
