"""What a command wrote, read as a whole, and how its end is told: in the same words on every platform."""

from __future__ import annotations

from g3zkp_maint.errors import BadInput, ExecFailed, StreamBroken
from g3zkp_maint.platforms.base import ExecStream

#: So much of the end of stderr is kept, in bytes.
STDERR_BYTES = 64 << 10
_SHOWN = 2000


def read_whole(stream: ExecStream, *, what: str, limit: int) -> bytes:
    """All of stdout of `what`, the command's name for people. Raises BadInput past `limit` bytes, and ends the command
    then; else as iteration over `stream` does."""
    pieces: list[bytes] = []
    size = 0
    for piece in stream:
        size += len(piece)
        if size > limit:
            stream.close()
            raise BadInput(f"{what} wrote more than the {limit} bytes that were expected; read it as a stream")
        pieces.append(piece)
    return b"".join(pieces)


def failed(what: str, code: int, stderr_tail: str, *, killed_by: str | None) -> ExecFailed | StreamBroken:
    """The error for a command that ended with `code`, or by the signal of that name."""
    words = f"; stderr ends: {stderr_tail[-_SHOWN:]}" if stderr_tail else "; it wrote nothing to stderr"
    if killed_by is not None:
        return StreamBroken(f"{what} was killed by {killed_by}: what it wrote is not whole; run it again{words}")
    return ExecFailed(f"{what} ended with exit code {code}{words}", exit_code=code, stderr_tail=stderr_tail)


def left_input(what: str, stderr_tail: str) -> ExecFailed:
    """The error for a command that ended with 0 before it had read all of its input."""
    return _no_success(what, "did not read all of its input: what it did is not the whole", stderr_tail)


def wrote_on(what: str, stderr_tail: str) -> ExecFailed:
    """The error for a command that ended with 0 and left a process behind that went on writing to its stdout."""
    why = "left a process behind that wrote on: let it wait for that one, or send its output elsewhere"
    return _no_success(what, why, stderr_tail)


def _no_success(what: str, why: str, stderr_tail: str) -> ExecFailed:
    words = f"; stderr ends: {stderr_tail[-_SHOWN:]}" if stderr_tail else ""
    return ExecFailed(f"{what} ended with exit code 0 and {why}{words}", exit_code=0, stderr_tail=stderr_tail)
