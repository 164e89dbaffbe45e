"""A store with copies of its recent objects on a local disk: read from there where they are whole, else from the store.

The store is the truth. Only what is put `if_absent` is copied, as that is never replaced; a copy is published after the
store has the object, and says by its name what its content must be: `<key>.<SHA-256>`. So a `get` trusts a copy only
when size and digest are right, read in full before the first byte is given out, and when the store has that object
still. A copy that cannot be written or read costs speed, never a backup: whatever the local disk does is left out.

While the store cannot be reached, an object whose copy is whole can still be read: a restore goes on without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import structlog

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import BadInput, StoreUnavailable
from g3zkp_maint.stores.base import Chunk, ObjectInfo, Store, Stored
from g3zkp_maint.stores.key import checked_key

_PIECE = 1 << 20
_PARTS = ".parts"
#: What we name files; nothing else in the folder is ever removed.
_COPY = re.compile(r".+\.[0-9a-f]{64}", re.DOTALL)
_PART = re.compile(r"[0-9a-f]{16}")

_log = structlog.get_logger(__name__)


@runtime_checkable
class Sweepable(Protocol):
    """A store that can be left with parts of objects that nobody sees."""

    def sweep(self, older_than: datetime) -> int: ...


class StagedStore:
    """`primary` with copies below the folder `local`, which go when they are older than `keep_days`."""

    def __init__(self, primary: Store, local: Path, *, keep_days: float, clock: Clock) -> None:
        self._primary = primary
        self._local = local
        self._keep = timedelta(days=keep_days)
        self._clock = clock

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        """See Store.put. The copy is written beside it, from the same chunks."""
        checked_key(key)
        if not if_absent:
            self._drop(key)
            return self._primary.put(key, chunks)
        copy = _Copy(self._local / _PARTS)
        try:
            stored = self._primary.put(key, copy.passing(chunks), if_absent=True)
            copy.publish(self._path(key, stored.digest), stored)
        finally:
            copy.drop()
        return stored

    def get(self, key: str, range: tuple[int, int] | None = None) -> Iterator[bytes]:
        """See Store.get."""
        copy = self._whole_copy(key)
        if copy is None:
            return self._primary.get(key, range)
        size = copy.stat().st_size
        start, end = range if range is not None else (0, size)
        if not 0 <= start <= end <= size:
            raise BadInput(f"range {start}-{end} lies outside of {key}, which has {size} bytes")
        return self._pieces(copy, key, start, end)

    def _pieces(self, copy: Path, key: str, start: int, end: int) -> Iterator[bytes]:
        """From the copy for as long as that works, the rest from the store."""
        try:
            with copy.open("rb", buffering=0) as file:
                file.seek(start)
                while start < end and (piece := file.read(min(_PIECE, end - start))):
                    yield piece
                    start += len(piece)
        except OSError as error:
            _log.warning("staged-copy-left", key=key, error=error.strerror)
        if start < end:
            yield from self._primary.get(key, (start, end))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Store.list: what the store has."""
        return self._primary.list(prefix)

    def delete(self, keys: Iterable[str]) -> int:
        """See Store.delete. Copies go after their objects: a lock that keeps the object keeps the copy."""
        listed = list(keys)
        count = self._primary.delete(listed)
        for key in listed:
            self._drop(key)
        return count

    def head(self, key: str) -> ObjectInfo:
        """See Store.head: what the store has."""
        return self._primary.head(key)

    def sweep(self, older_than: datetime) -> int:
        """Removes copies past their time; and as the stores' own sweeps, what dead writers left. Counts the latter."""
        _trim(self._local, _COPY, self._clock.now() - self._keep)
        count = _trim(self._local / _PARTS, _PART, older_than)
        return count + (self._primary.sweep(older_than) if isinstance(self._primary, Sweepable) else 0)

    # -- the copies ----------------------------------------------------------------------------------------------------

    def _path(self, key: str, digest: str) -> Path:
        return self._local.joinpath(*f"{key}.{digest}".split("/"))

    def _copies(self, key: str) -> Sequence[Path]:
        folder, _, name = key.rpartition("/")
        where = self._local.joinpath(*folder.split("/")) if folder else self._local
        try:
            found = [path for path in where.iterdir() if _COPY.fullmatch(path.name)]
        except OSError:
            return ()
        return [path for path in found if path.name[: -len(".") - 64] == name]

    def _whole_copy(self, key: str) -> Path | None:
        checked_key(key)
        copies = self._copies(key)
        info = self._told(key) if copies else None
        return next((copy for copy in copies if _is_whole(copy, info)), None)

    def _told(self, key: str) -> ObjectInfo | None:
        """None while the store cannot be asked. Raises ObjectMissing."""
        try:
            return self._primary.head(key)
        except StoreUnavailable as error:
            _log.warning("staged-copy-unconfirmed", key=key, reason=str(error))
            return None

    def _drop(self, key: str) -> None:
        checked_key(key)
        for copy in self._copies(key):
            with contextlib.suppress(OSError):  # it is never trusted without the object
                copy.unlink()


def _trim(folder: Path, named: re.Pattern[str], before: datetime) -> int:
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


class _Copy:
    """A copy that is being written; from the first error of the local disk on it is none."""

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
            _log.warning("staged-copy-left-out", folder=str(self._part.parent.parent), error=error.strerror)
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def _is_whole(copy: Path, info: ObjectInfo | None) -> bool:
    digest = copy.name.rpartition(".")[2]
    try:
        if info is not None and (copy.stat().st_size != info.size or info.digest not in {None, digest}):
            return False
        with copy.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False
