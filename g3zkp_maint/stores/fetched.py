"""A store that a restore reads once: what its check reads is kept on a local disk, sealed as it is, for the steps after.

A restore reads everything before it touches anything, and then reads it again. Over a network the second reading costs
as much as the first. So `fetch` writes a copy on the way, below `folder`, while there is room; `get` takes it from there;
`release` removes it once its content is where it belongs, so copies and restored files together take no more room than
the larger of them. What does not fit is read from the store again.

A copy is named `<SHA-256 of key>.<SHA-256 of content>`, 0600, and is published only when its content has that digest. So
a restore that was killed goes on with the copies that it finds, each read through before it is trusted. Copies that
nobody came back for are removed by the first `fetch` of a later restore.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import structlog

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import BadInput
from g3zkp_maint.stores.base import Chunk, ObjectInfo, Store, Stored
from g3zkp_maint.stores.local_copy import PART, PARTS, Copy, is_whole, pieces, trim

#: Left free for others on the same disk.
_SPARE_BYTES = 1 << 30
_LEFTOVER = timedelta(days=2)
_COPY = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{64}")

_log = structlog.get_logger(__name__)


class FetchedStore:
    """`primary`, with copies of at most `most_bytes` together below `folder`. Safe for threads."""

    def __init__(self, primary: Store, folder: Path, *, most_bytes: int, clock: Clock) -> None:
        self._primary = primary
        self._folder = folder
        self._most_bytes = most_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._being_written = 0
        self._is_swept = False
        self._trusted: set[Path] = set()

    def fetch(self, key: str, wanted: Stored, seen: Callable[[int], object]) -> str:
        """Reads an object through and returns the SHA-256 of its bytes; where that is `wanted`, `get` may take it from a
        copy from now on. `seen` is told the bytes of each piece. Raises as Store.get."""
        self._sweep_once()
        if (path := self._path(key, wanted)) in self._copies(key) and self._is_trusted(path):
            seen(wanted.size)
            return wanted.digest
        if not self._reserve(wanted.size):
            return _read_through(self._primary.get(key), seen).digest
        try:
            return self._copied(key, wanted, seen)
        finally:
            self._unreserve(wanted.size)

    def release(self, key: str) -> None:
        """Removes the copies of an object."""
        for path in self._copies(key):
            self._trusted.discard(path)
            with contextlib.suppress(OSError):  # gone, or it stays until it is swept
                path.unlink()

    # -- as the store itself -------------------------------------------------------------------------------------------

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        """See Store.put."""
        self.release(key)
        return self._primary.put(key, chunks, if_absent=if_absent)

    def get(self, key: str, range: tuple[int, int] | None = None) -> Iterator[bytes]:
        """See Store.get."""
        copy = next(filter(self._is_trusted, self._copies(key)), None)
        size = _size(copy) if copy is not None else 0
        if copy is None or not size:
            return self._primary.get(key, range)
        start, end = range if range is not None else (0, size)
        if not 0 <= start <= end <= size:
            raise BadInput(f"range {start}-{end} lies outside of {key}, which has {size} bytes")
        return pieces(copy, key, start, end, rest=self._primary)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Store.list."""
        return self._primary.list(prefix)

    def delete(self, keys: Iterable[str]) -> int:
        """See Store.delete."""
        listed = [*keys]
        for key in listed:
            self.release(key)
        return self._primary.delete(listed)

    def head(self, key: str) -> ObjectInfo:
        """See Store.head: what the store has."""
        return self._primary.head(key)

    # -- the copies ----------------------------------------------------------------------------------------------------

    def _copied(self, key: str, wanted: Stored, seen: Callable[[int], object]) -> str:
        copy = Copy(self._folder / PARTS)
        try:
            read = _read_through(copy.passing(self._primary.get(key)), seen)
            if read == wanted:
                copy.publish(self._path(key, wanted), wanted)
                self._trusted.add(self._path(key, wanted))
        finally:
            copy.drop()
        return read.digest

    def _path(self, key: str, content: Stored) -> Path:
        return self._folder / f"{_tag(key)}.{content.digest}"

    def _copies(self, key: str) -> Sequence[Path]:
        return tuple(self._folder.glob(f"{_tag(key)}.*")) if self._is_ours else ()

    @cached_property
    def _is_ours(self) -> bool:
        """Nobody else may put anything into the folder; where that is not so there are no copies."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._folder.stat(follow_symlinks=False)
        except OSError as error:
            _log.warning("local-copies-left-out", folder=str(self._folder), error=error.strerror)
            return False
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        if not is_ours:
            _log.warning("local-copies-left-out", folder=str(self._folder), error="not a folder of ours with mode 0700")
        return is_ours

    def _is_trusted(self, path: Path) -> bool:
        """Read through once a process; a copy that is not whole is removed."""
        if path not in self._trusted and not is_whole(path, None):
            path.unlink(missing_ok=True)
            return False
        self._trusted.add(path)
        return True

    def _reserve(self, size: int) -> bool:
        """Whether there is room for so many bytes more, which are then counted as taken until they are on the disk."""
        if not self._is_ours:
            return False
        with self._lock:
            disk = os.statvfs(self._folder)
            held = sum(_size(path) for path in self._folder.iterdir() if _COPY.fullmatch(path.name))
            free = disk.f_bavail * disk.f_frsize - self._being_written
            if free - size < _SPARE_BYTES or held + self._being_written + size > self._most_bytes:
                return False
            self._being_written += size
            return True

    def _unreserve(self, size: int) -> None:
        with self._lock:
            self._being_written -= size

    def _sweep_once(self) -> None:
        with self._lock:
            if self._is_swept or not self._is_ours:
                return
            self._is_swept = True
        before = self._clock.now() - _LEFTOVER
        trim(self._folder, _COPY, before)
        trim(self._folder / PARTS, PART, before)


def _tag(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read_through(chunks: Iterable[Chunk], seen: Callable[[int], object]) -> Stored:
    hasher, size = hashlib.sha256(), 0
    for chunk in chunks:
        hasher.update(chunk)
        size += len(chunk)
        seen(len(chunk))
    return Stored(size, hasher.hexdigest())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # released meanwhile
        return 0
