"""A store with copies of its recent objects on a local disk: read from there where they are whole, else from the store.

The store is the truth. Only what is put `if_absent` is copied, as that is never replaced; a copy is published after the
store has the object, and says by its name what its content must be: `<key>.<SHA-256>`. So a `get` trusts a copy only
when size and digest are right, read in full before the first byte is given out, and when the store has that object
still. A copy that cannot be written or read costs speed, never a backup: whatever the local disk does is left out.

While the store cannot be reached, an object whose copy is whole can still be read: a restore goes on without it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

import structlog

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import BadInput, StoreUnavailable
from g3zkp_maint.stores.base import Chunk, ObjectInfo, Store, Stored
from g3zkp_maint.stores.key import checked_key
from g3zkp_maint.stores.local_copy import PART, PARTS, Copy, is_whole, pieces, trim

#: What we name files; nothing else in the folder is ever removed.
_COPY = re.compile(r".+\.[0-9a-f]{64}", re.DOTALL)

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
        copy = Copy(self._local / PARTS)
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
        return pieces(copy, key, start, end, rest=self._primary)

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

    def trim(self) -> None:
        """Removes copies past their time."""
        trim(self._local, _COPY, self._clock.now() - self._keep)

    def sweep(self, older_than: datetime) -> int:
        """As the stores' own sweeps: removes what dead writers left, and counts it."""
        count = trim(self._local / PARTS, PART, older_than)
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
        return next((copy for copy in copies if is_whole(copy, info)), None)

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
