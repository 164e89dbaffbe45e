"""The members of an old script's `tar.gz`, as rows with their contents, in one pass and bounded memory.

`tar czf - /data/ipfs` names its members `data/ipfs/…`; rows are relative to the data folder. Whoever could write the
bucket could write these, so a member that would lead out of its folder ends the import: `..`, absolute names, other
folders. Devices are left out, as backups leave them out.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import IO, cast

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.gunzip import PlainStream, gunzipped
from g3zkp_maint.backup.row import Row, escape
from g3zkp_maint.backup.tarstream import END
from g3zkp_maint.errors import ArchiveCorrupt

_DATA = b"data/"
_PIECE = 1 << 20
_NO_STEPS = {b"", b".", b".."}


class OldTar:
    """To be iterated once: each row, and the pieces of its content, to be read before the next row is asked for.

    Raises ArchiveCorrupt, at the latest at the end, unless gzip and tar are whole to their last byte.
    """

    def __init__(self, pieces: Iterable[bytes], *, top: str, what: str) -> None:
        """`top` is the only folder that it may hold, such as `ipfs`; `what` names it in errors."""
        self._stream = PlainStream(gunzipped(pieces, what))
        self._top = os.fsencode(top)
        self._what = what

    def __iter__(self) -> Iterator[tuple[Row, Iterator[bytes]]]:
        try:
            yield from self._members()
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            # tarfile has a class for what it looks for, and lets numbers that are none pass as they come.
            raise self._corrupt(str(error)) from error

    def _members(self) -> Iterator[tuple[Row, Iterator[bytes]]]:
        source = cast("IO[bytes]", self._stream)
        with tarfile.open(fileobj=source, mode="r|", bufsize=_PIECE, encoding="utf-8", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                yield self._row(member), self._content(tar, member)
            end = tar.offset
        self._stream.drain()
        # tarfile takes a header that it cannot read for the end; the true end is nothing but zeros, two blocks of them.
        if self._stream.content_end > end or self._stream.size - end < len(END):
            raise self._corrupt("its tar has no end")

    def _content(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
        file = tar.extractfile(member) if member.isreg() else None
        if file is None:
            return
        left = member.size
        while left:
            piece = file.read(min(_PIECE, left))
            if not piece:
                raise self._corrupt("its tar ends in the middle of a file")
            left -= len(piece)
            yield piece

    def _row(self, member: tarfile.TarInfo) -> Row:
        kind, link = self._kind(member)
        return Row(
            path=self._path(member.name),
            kind=kind,
            mode=member.mode & 0o7777,
            uid=member.uid,
            gid=member.gid,
            mtime_ns=_mtime_ns(member),
            size=member.size if kind in rows.WITH_CONTENT else 0,
            ctime_ns=0,  # whatever is there later must be looked at
            inode=0,
            link=link,
        )

    def _kind(self, member: tarfile.TarInfo) -> tuple[str, str]:
        if member.isreg():
            return (rows.SPARSE if member.issparse() else rows.FILE), ""
        if member.isdir():
            return rows.FOLDER, ""
        if member.issym():
            return rows.SYMLINK, escape(_raw(member.linkname))
        if member.islnk():
            return rows.HARDLINK, self._path(member.linkname)
        if member.isfifo():
            return rows.FIFO, ""
        if member.ischr() or member.isblk():
            return rows.LEFT_OUT, "device"
        raise self._corrupt(f"it holds a member of type {member.type!r}")

    def _path(self, name: str) -> str:
        raw = _raw(name)
        path = raw.removeprefix(_DATA)
        is_below = path == self._top or path.startswith(self._top + b"/")
        if not raw.startswith(_DATA) or not is_below or _NO_STEPS & set(path.split(b"/")):
            raise self._corrupt(f"it holds {name!r}, which is not below data/{os.fsdecode(self._top)}")
        return escape(path)

    def _corrupt(self, why: str) -> ArchiveCorrupt:
        return ArchiveCorrupt(f"{self._what} is no whole archive of the old scripts: {why}; use another copy")


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _mtime_ns(member: tarfile.TarInfo) -> int:
    """pax headers have the fraction as text; as a float it would be another time."""
    try:
        return int(Decimal(member.pax_headers.get("mtime", str(member.mtime))) * 1_000_000_000)
    except InvalidOperation:
        return int(member.mtime * 1_000_000_000)
