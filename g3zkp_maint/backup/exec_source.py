"""The source that is a pod: the messenger's own, asked by exec. Nothing needs to be mounted, and node is all it needs.

A list or a shard is one exec. What it gives counts when the stream came whole (agent/call.py); until then the archive is
a temporary object, and a failure makes it as if it had never been begun.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.agent.call import Agent, AgentStatus, Answer, counted, latin
from g3zkp_maint.backup.row import Row, unescape
from g3zkp_maint.backup.scan import Rows, left_out
from g3zkp_maint.backup.source import CHANGED, GREW, READINGS, SMALL, OpenFile, Whole
from g3zkp_maint.errors import SourceError

_LISTED = struct.Struct("<II")
_STABLE, _UNSTABLE, _SHORT, _FAILED = range(4)
_NOTES = {_STABLE: None, _UNSTABLE: GREW, _SHORT: CHANGED}
_ZERO_RUN = 1 << 31
_REPLACED = "replaced by something that is no file"
#: A worklist is sent in parts of about this size.
_ITEMS_BYTES = 256 << 10


@dataclass(frozen=True)
class ExecSource:
    """See Source."""

    agent: Agent

    def scan(self, path: str) -> Iterator[Row]:
        """See Source.scan."""
        where = f"{self.agent.root}/{path} in {self.agent.workload}"
        try:
            with self.agent.call("list", path=latin(os.fsencode(path))) as answer:
                yield from _listed(answer)
        except FileNotFoundError:
            raise SourceError(f"{where} is not there; is messenger.data_path the folder that its data is in?") from None
        except OSError as error:
            raise SourceError(
                f"{where} cannot be walked: {error.strerror}; it must be a folder that its user may read, and no link"
            ) from error

    def files(self, worklist: Iterable[Row]) -> Generator[tuple[Row, OpenFile | OSError | None]]:
        """See Source.files. Raises SourceError where the data folder is gone."""
        listed = list(worklist)
        asked = [row for row in listed if _is_asked(row)]
        if not asked:
            yield from ((row, None) for row in listed)
            return
        request = {"count": len(asked), "limit": SMALL, "readings": READINGS}
        with self.agent.call("read", _items(asked), **request) as answer:
            for row in listed:
                yield row, (self._answered(answer, row) if _is_asked(row) else None)
            if tag := self._tag(answer):
                raise answer.unexpected(tag)

    def _answered(self, answer: Answer, row: Row) -> OpenFile | OSError | None:
        tag = self._tag(answer)
        if tag == b"H":
            return None
        if tag == b"D":
            row.kind, row.link = rows.FILE, ""
            tag = self._tag(answer)
        if tag == b"X":
            number = answer.u32()
            return OSError(number or errno.ENOENT, os.strerror(number) if number else _REPLACED)
        if tag in {b"S", b"K", b"L"}:
            return _File(answer, tag)
        raise answer.unexpected(tag)

    def _tag(self, answer: Answer) -> bytes:
        try:
            return answer.tag()
        except OSError as error:
            raise SourceError(
                f"{self.agent.root} in {self.agent.workload} cannot be read: {error.strerror}; "
                "is messenger.data_path the folder that its data is in?"
            ) from error


class _File:
    """See OpenFile. The readings were made already; here they are taken from the stream, in the order of their making."""

    __slots__ = ("_answer", "_how", "_is_zeros", "_left", "_number", "_tag")

    def __init__(self, answer: Answer, tag: bytes) -> None:
        self._answer = answer
        self._tag = tag
        self._left = 0
        self._is_zeros = False
        self._how: int | None = None
        self._number = 0

    def whole(self) -> Whole | None:
        """See OpenFile.whole."""
        if self._tag != b"S":
            return None
        found, how = self._answer.status(), self._answer.u8()
        return Whole(found, self._answer.take(self._answer.u32()), _NOTES[how])

    def known(self) -> AgentStatus | None:
        """See OpenFile.known."""
        return self._answer.status() if self._tag == b"K" else None

    def begin(self) -> AgentStatus:
        """See OpenFile.begin."""
        tag, self._tag = self._tag or self._answer.tag(), b""
        if tag != b"L":
            raise self._answer.unexpected(tag)
        self._how = None
        return self._answer.status()

    def piece(self, most: int) -> bytes:
        """See OpenFile.piece."""
        if not self._left and not self._next():
            if self._how == _FAILED:
                raise OSError(self._number, os.strerror(self._number))
            return b""
        size = min(self._left, most)
        self._left -= size
        return bytes(size) if self._is_zeros else self._answer.take(size)

    def end(self) -> bool:
        """See OpenFile.end."""
        if self._left or self._next():
            raise self._answer.unexpected(b"more of a file")
        return self._how == _STABLE

    def _next(self) -> int:
        """The size of the next piece; 0 at the end of the reading."""
        if self._how is not None:
            return 0
        size = self._answer.u32()
        self._is_zeros, self._left = size >= _ZERO_RUN, size % _ZERO_RUN
        if not self._left:
            self._how, self._number = self._answer.u8(), self._answer.u32()
        return self._left


def _is_asked(row: Row) -> bool:
    return row.kind in rows.WITH_CONTENT or row.kind == rows.HARDLINK


def _items(asked: Iterable[Row]) -> Iterator[bytes]:
    parts, held = [], 0
    for row in asked:
        parts.append(counted(unescape(row.path)) + counted(unescape(row.link)) + counted(bytes.fromhex(row.digest)))
        held += len(parts[-1])
        if held >= _ITEMS_BYTES:
            yield b"".join(parts)
            parts, held = [], 0
    yield b"".join(parts)


def _listed(answer: Answer) -> Iterator[Row]:
    made = Rows()
    while tag := answer.tag():
        path_size, target_size = _LISTED.unpack(answer.take(_LISTED.size))
        found, path, target = answer.status(), answer.take(path_size), answer.take(target_size)
        if tag == b"P":
            try:
                yield made.row(path, found, target)
            except KeyError:  # a kind of file that no system has
                raise answer.unexpected(tag) from None
        elif tag == b"U":
            yield left_out(path + b"/", found, f"unreadable: {os.strerror(answer.u32())}")
        else:
            raise answer.unexpected(tag)
