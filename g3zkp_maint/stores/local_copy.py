"""A copy of an object on a local disk: a file whose name ends with the SHA-256 that its bytes must have.

It is written beside and renamed, so what has the name was once whole; and as a disk may forget, whoever trusts one reads
it through first. Whatever the local disk does wrong costs speed and nothing else: the copy is left out, the object comes
from its store.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog

from g3zkp_maint.stores.base import Chunk, ObjectInfo, Store, Stored

#: The folder of copies that are being written, and what they are called there.
PARTS = ".parts"
PART = re.compile(r"[0-9a-f]{16}")
_PIECE = 1 << 20

_log = structlog.get_logger(__name__)


class Copy:
    """A copy that is being written, below `folder`; from the first error of the local disk on it is none. `publish`, then
    `drop`, whatever happened."""

    def __init__(self, folder: Path) -> None:
        self._part = folder / secrets.token_hex(8)
        self._fd = -1
        self._size = 0
        self._guarded(self._create)

    def passing(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """The chunks, each written on its way."""
        for chunk in chunks:
            if self._fd >= 0:
                self._guarded(partial(self._write, memoryview(chunk)))
            yield chunk

    def publish(self, path: Path, stored: Stored) -> None:
        if self._fd >= 0 and self._size == stored.size:
            self._guarded(lambda: self._publish(path))

    def drop(self) -> None:
        """To be called at the end, whatever happened."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with contextlib.suppress(OSError):
            self._part.unlink()

    def _create(self) -> None:
        self._part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def _write(self, view: memoryview) -> None:
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _publish(self, path: Path) -> None:
        # No fsync: a copy that a power cut has spoilt is seen by its digest.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._part.rename(path)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            _log.warning("local-copy-left-out", folder=str(self._part.parent.parent), error=error.strerror)
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def is_whole(copy: Path, info: ObjectInfo | None) -> bool:
    """Whether its bytes have the digest of its name, and are what the store tells of its object, where it does."""
    digest = copy.name.rpartition(".")[2]
    try:
        if info is not None and (copy.stat().st_size != info.size or info.digest not in {None, digest}):
            return False
        with copy.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def pieces(copy: Path, key: str, start: int, end: int, *, rest: Store) -> Iterator[bytes]:
    """The bytes from `start` up to `end`: from the copy for as long as that works, then from the store `rest`."""
    try:
        with copy.open("rb", buffering=0) as file:
            file.seek(start)
            while start < end and (piece := file.read(min(_PIECE, end - start))):
                yield piece
                start += len(piece)
    except OSError as error:
        _log.warning("local-copy-left", key=key, error=error.strerror)
    if start < end:
        yield from rest.get(key, (start, end))


def trim(folder: Path, named: re.Pattern[str], before: datetime) -> int:
    """Removes the files of these names that were last written before then, and folders that become empty; counts."""
    count = 0
    for top, folders, names in os.walk(folder, topdown=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        old = [path for path in map(Path(top).joinpath, filter(named.fullmatch, names)) if _is_older(path, before)]
        for path in old:
            with contextlib.suppress(OSError):  # gone, or not ours to remove: the next sweep sees it again
                path.unlink()
                count += 1
        if old and Path(top) != folder:
            with contextlib.suppress(OSError):  # not empty
                Path(top).rmdir()
    return count


def _is_older(path: Path, before: datetime) -> bool:
    try:
        return path.stat().st_mtime < before.timestamp()
    except OSError:  # gone meanwhile
        return False
