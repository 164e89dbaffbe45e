"""A program run by node inside a pod: the request goes in, an answer comes out that is whole only with its trailer.

`node -e` gets a loader of a few hundred bytes; the program follows on stdin, its length first. Everything that comes back
is checked on both sides, and ends with a count and a checksum: a stream that was cut, or that the command's exit status
does not confirm, is never taken for a whole one. docs/architecture.md describes the format.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from g3zkp_maint.backup.agent.checksum import SIZE, Checksum
from g3zkp_maint.errors import ExecFailed, SourceError, StreamBroken
from g3zkp_maint.platforms.base import ExecStream

_HERE = Path(__file__).parent
_LENGTH = struct.Struct("<I")
_STATUS = struct.Struct("<IIIIQqqqqQ")
_TRAILER = struct.Struct(f"<Q{SIZE}s")
_CUT_SHORT = 74
_NO_NODE = {126, 127}
_END, _ERROR = b"T", b"E"


class AgentStatus(NamedTuple):
    """What the agent's lstat told."""

    st_mode: int
    st_uid: int
    st_gid: int
    st_nlink: int
    st_ino: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_blocks: int
    st_dev: int


class Answer:
    """What a program sends, taken in the sizes that it sent. Every method raises StreamBroken where it ends too early."""

    def __init__(self, stream: ExecStream, what: str) -> None:
        self._stream = stream
        self._pieces = iter(stream)
        self._what = what
        self._buffer = b""
        self._at = 0
        self._checked = 0
        self._checksum = Checksum()
        self._before = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self._at + size
        if end > len(self._buffer):
            return self._gathered(size)
        taken = self._buffer[self._at : end]
        self._at = end
        return taken

    def tag(self) -> bytes:
        """The letter that begins a record; b"" at the trailer, which is checked then. Raises OSError where the agent
        could not do the whole of what it was asked for."""
        tag = self.take(1)
        if tag == _ERROR:
            number = self.u32()
            if self.tag():
                raise self.unexpected(tag)
            raise OSError(number, os.strerror(number))
        if tag == _END:
            self._check_trailer()
            return b""
        return tag

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        number: int = _LENGTH.unpack(self.take(4))[0]
        return number

    def status(self) -> AgentStatus:
        return AgentStatus._make(_STATUS.unpack(self.take(_STATUS.size)))

    def unexpected(self, tag: bytes) -> StreamBroken:
        return StreamBroken(
            f"{self._what} sent {tag!r} where that cannot be; another version of it answered: run it again"
        )

    def _gathered(self, size: int) -> bytes:
        """Of more than one piece; what is left of the last one stays where it is."""
        parts = [self._buffer[self._at :]]
        missing = size - len(parts[0])
        while missing:
            self._check(len(self._buffer))
            piece = self._next()
            self._before += len(self._buffer)
            self._buffer, self._checked = piece, 0
            self._at = min(missing, len(self._buffer))
            parts.append(self._buffer[: self._at])
            missing -= self._at
        return b"".join(parts)

    def _next(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StreamBroken(f"{self._what} ended before its trailer: nothing of it counts; run it again") from None
        except ExecFailed as error:
            raise _explained(error, self._what) from error

    def _check(self, end: int) -> None:
        if end > self._checked:
            self._checksum.update(memoryview(self._buffer)[self._checked : end])
            self._checked = end

    def _check_trailer(self) -> None:
        self._check(self._at)
        ours = (self._before + self._at, self._checksum.digest())
        # A tag that was made takes no more, and what takes the trailer may update it.
        self._checksum = Checksum()
        if _TRAILER.unpack(self.take(_TRAILER.size)) != ours:
            raise StreamBroken(f"{self._what} arrived other than it was sent: nothing of it counts; run it again")
        rest = len(self._buffer) - self._at
        try:
            rest += sum(map(len, self._pieces))
        except ExecFailed as error:
            raise _explained(error, self._what) from error
        if rest:
            raise StreamBroken(f"{self._what} went on after its trailer: nothing of it counts; run it again")


def _explained(error: ExecFailed, what: str) -> StreamBroken | SourceError:
    if error.exit_code in _NO_NODE:
        return SourceError(f"{what} cannot be started: the container has no node; use backup.source=mounted")
    # Killed from outside, or its input was cut: the same may go well another time.
    if error.exit_code > 128 or error.exit_code in {_CUT_SHORT, -1}:
        return StreamBroken(f"{what} was stopped (exit code {error.exit_code}): nothing of it counts; run it again")
    return SourceError(f"{what} failed: {error}")


class Executor(Protocol):
    """The part of a Platform that runs commands."""

    def exec(
        self, workload: str, argv: Sequence[str], stdin: Iterable[bytes] | None = None, *, may_leave_input: bool = False
    ) -> ExecStream: ...


@dataclass(frozen=True)
class Agent:
    """Programs for one workload. `root` is the data folder as that sees it."""

    platform: Executor
    workload: str
    root: str

    @contextmanager
    def call(self, program: str, items: Iterable[bytes] = (), **request: Any) -> Iterator[Answer]:
        """Runs `program` (list, read, write); `items` follow the request, and the checksum of both follows them. Ends the
        command when left. Raises PlatformUnavailable where no instance is ready."""
        what = f"the {program} program in {self.workload}"
        document = {"root": os.fsencode(self.root).decode("latin-1"), **request}
        try:
            # A program that cannot go on says so in its answer, and need not hear the rest.
            stream = self.platform.exec(
                self.workload, ["node", "-e", _loader()], _input(program, document, items), may_leave_input=True
            )
        except ExecFailed as error:
            raise _explained(error, what) from error
        try:
            yield Answer(stream, what)
        finally:
            stream.close()


def latin(raw: bytes) -> str:
    """A path for a request: one character a byte."""
    return raw.decode("latin-1")


def counted(raw: bytes) -> bytes:
    """Bytes with their length before them."""
    return _LENGTH.pack(len(raw)) + raw


def _input(program: str, request: dict[str, Any], items: Iterable[bytes]) -> Generator[bytes]:
    yield counted(_program(program))
    head = counted(json.dumps(request).encode())
    checksum = Checksum()
    checksum.update(head)
    yield head
    for item in items:
        checksum.update(item)
        yield item
    yield checksum.digest()


_PARTS = {
    "list": ("wire", "confined", "list"),
    "read": ("wire", "confined", "blake3", "read"),
    "write": ("wire", "confined", "blake3", "write"),
}


@cache
def _program(name: str) -> bytes:
    return b"\n".join((_HERE / f"{part}.js").read_bytes() for part in _PARTS[name])


@cache
def _loader() -> str:
    lines = (_HERE / "boot.js").read_text().splitlines()
    return "".join(line for line in lines if not line.startswith("//"))
