"""The port to where archives go. Two adapters stand behind it (a directory, S3), and one contract suite that both pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias, runtime_checkable

Chunk: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Stored:
    """What a `put` has made durable: `size` in bytes, `digest` the SHA-256 of those bytes in hex."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as a listing or a HEAD tells of it. `digest` (SHA-256, hex) only where the store knows it cheaply."""

    key: str
    size: int
    modified: datetime
    digest: str | None = None


class Store(Protocol):
    """Keys are relative POSIX paths without `..`; objects are immutable once put."""

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        """Stores all chunks under `key`, durable when this returns; on any error nothing is visible under `key`.

        With `if_absent`, raises ObjectExists when the key is taken, decided atomically by the store.
        Raises StoreFull, StoreUnavailable. An error raised by `chunks` passes through unchanged.
        """
        ...

    def get(self, key: str, range: tuple[int, int] | None = None) -> Iterator[bytes]:
        """Yields the object in pieces of bounded size; `range` is (first byte, one past the last).

        Raises ObjectMissing, StoreUnavailable; a stream cut short raises, it never ends early in silence.
        """
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, ordered by key. No temporary object is ever shown."""
        ...

    def delete(self, keys: Iterable[str]) -> int:
        """Deletes the objects, and counts those that were there. A missing key is no error."""
        ...

    def head(self, key: str) -> ObjectInfo:
        """Raises ObjectMissing."""
        ...


@runtime_checkable
class Fetching(Protocol):
    """A store that can keep what is read from it, where it is read twice: once to see that it is whole, then for use."""

    def fetch(self, key: str, wanted: Stored, seen: Callable[[int], object]) -> str:
        """Reads an object through and returns the SHA-256 of its bytes; `seen` is told the bytes of each piece. Raises
        as Store.get."""
        ...

    def release(self, key: str) -> None:
        """It will not be read again."""
        ...
