"""Where files are read from: a port with two adapters, a mounted folder and a pod that is asked by exec.

Both give the same rows and the same content, so archives and manifests do not tell which one it was. The archiver asks
for one file after another, in the order of its list; a source may have read ahead.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterable, Iterator
from typing import Protocol

import msgspec

from g3zkp_maint.backup.row import Row

VANISHED = "vanished"  # left out: it is gone
GREW = "grew"  # stored: the part that was there when it was opened, byte for byte
UNREADABLE = "unreadable"  # left out
CHANGED = "changed"  # stored, but it was rewritten during every reading: its content may be torn

#: Files up to this size are read at once, larger ones in pieces.
SMALL = 512 << 10
#: How often a file that changes while it is read is read in all.
READINGS = 3

#: What an error says of a path that is gone, or that something else has taken.
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Status(Protocol):
    """What `stat` tells, as much of it as rows hold; an `os.stat_result` is one."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_uid(self) -> int: ...
    @property
    def st_gid(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...
    @property
    def st_ino(self) -> int: ...


class Whole(msgspec.Struct, frozen=True, gc=False):
    """A small file's content, and the status that it had then. `note` is GREW or CHANGED where no reading found it
    unchanged."""

    found: Status
    data: bytes
    note: str | None = None


class OpenFile(Protocol):
    """A regular file, open: `whole`, and where that gives nothing `known`, then `begin`, `piece`… and `end`, up to
    READINGS times. All raise OSError as the system says it of this file, and SourceError or a TemporaryError where the
    source itself fails."""

    def whole(self) -> Whole | None:
        """All of a small file; None for one that is large, became so, or is known."""
        ...

    def known(self) -> Status | None:
        """Its status where its content has the digest that its row came with, read through and unchanged meanwhile."""
        ...

    def begin(self) -> Status:
        """Starts a reading from the beginning; as many bytes will be read as `st_size` says."""
        ...

    def piece(self, most: int) -> bytes:
        """The next 1 to `most` bytes; none where the file became shorter."""
        ...

    def end(self) -> bool:
        """Ends a reading: whether the file was the same all the time."""
        ...


class Source(Protocol):
    """The messenger's data folder."""

    def scan(self, path: str) -> Iterator[Row]:
        """Every path at and below `path`, in walk order, paths relative to the data folder.

        What vanishes during the walk is left out; a folder that cannot be read is a row of kind LEFT_OUT. Raises
        SourceError when `path` itself is no readable folder, StreamBroken where the list did not come whole."""
        ...

    def files(self, worklist: Iterable[Row]) -> Generator[tuple[Row, OpenFile | OSError | None]]:
        """Each row of the list in its order: with its file, open until the next one is asked for; with the error that
        kept it from being opened; with None where it has no content of its own.

        A hard link that no longer shares its content with its first path comes as a file: its row is changed. The last
        is whole only where the iteration ended without an error. Close it when it is left early."""
        ...
