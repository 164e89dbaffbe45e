"""A command in a pod, with the guarantees of ExecStream.

A stream that ends without a status frame is broken, whatever came before. What Kubernetes does not give is given by a few
lines of shell around the command (kubernetes_script).
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from g3zkp_maint.errors import BadInput, MaintenanceError, PlatformUnavailable, StreamBroken
from g3zkp_maint.platforms.exec_output import STDERR_BYTES, failed, left_input, read_whole, wrote_on
from g3zkp_maint.platforms.kubernetes_channels import (
    STATUS,
    STDERR,
    STDIN,
    STDOUT,
    Channels,
    ConnectionEnded,
    Message,
)
from g3zkp_maint.platforms.kubernetes_ending import Ending
from g3zkp_maint.platforms.kubernetes_script import FED, IS_ALIVE, KILL, PLAIN
from g3zkp_maint.scrubbing import scrub_text

_SHOWN = 2000
#: So much of the input goes over after one count of its pieces: each count costs a process in the pod.
_BLOCK = 4 << 20
_PIECE = 64 << 10
_STATUS_BYTES = 1 << 20
_JOIN_SECONDS = 2.0
_NOT_STARTED = frozenset({126, 127})

#: Opens an exec of the argument list in the same container; the flag says whether it has input.
Opener = Callable[[Sequence[str], bool], Channels]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what should come at once.

    After `silence_seconds` without a word of it a command is asked after. `linger_seconds`: after the status comes the end
    of the connection; a server that does not end it is not waited for longer. As long, output is held that may be the
    beginning of its end. `aside_seconds`: how long a command that is to be ended may take to tell its process id, and how
    long asking after one may take."""

    silence_seconds: float = 20.0
    linger_seconds: float = 5.0
    aside_seconds: float = 5.0


class KubernetesExec:
    """See ExecStream. `where` is shown in errors; `mark` is a word that no command writes, a random one unless given."""

    def __init__(
        self,
        opener: Opener,
        argv: Sequence[str],
        *,
        where: str,
        stdin: Iterable[bytes] | None = None,
        may_leave_input: bool = False,
        patience: Patience | None = None,
        mark: str | None = None,
    ) -> None:
        if not argv:
            raise BadInput(f"no command was given to run in {where}")
        self._what = f"{PurePosixPath(argv[0]).name} in {where}"
        self._opener = opener
        self._patience = patience or Patience()
        self._has_input = stdin is not None
        self._may_leave_input = may_leave_input
        mark = mark or secrets.token_hex(8)
        self._said = re.compile(rb"%b (\d+|fed|over)\n" % mark.encode())
        self._ending = Ending(mark.encode())
        self._held_until = 0.0
        self._tail = bytearray()
        self._status = bytearray()
        self._pid: int | None = None
        self._is_missing = False
        self._is_silent = False
        self._is_fed = False
        self._has_left_input = False
        self._wants_no_more = threading.Event()
        self._is_done = False
        self._is_closed = False
        self._was_ended = False
        self._input_error: BaseException | None = None
        script = PLAIN if stdin is None else FED
        self._channels = opener(["sh", "-c", script, "sh", mark, *argv], stdin is not None)
        self._feed = threading.Thread(target=self._write_stdin, args=(stdin,), name="exec-stdin", daemon=True)
        if stdin is not None:
            self._feed.start()

    def __iter__(self) -> Iterator[bytes]:
        """See ExecStream. Leaving the loop early ends the command."""
        try:
            while not self._is_over():
                if piece := self._output():
                    yield piece
            self._is_done = True
            self._finish()
        finally:
            self.close()

    def read_all(self, limit: int = 1 << 20) -> bytes:
        """See ExecStream."""
        return read_whole(self, what=self._what, limit=limit)

    def close(self) -> None:
        """See ExecStream. Its whole process group gets SIGTERM, then SIGKILL."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._is_done:
            self._was_ended = True
            self._kill()
        self._channels.close()
        if self._feed.is_alive():
            self._feed.join(_JOIN_SECONDS)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def _output(self) -> bytes:
        """What has come of stdout; nothing after a silence."""
        is_holding = self._ending.may_be_output
        stdout = b"".join(self._sorted(self._received_amid_holding() if is_holding else self._received()))
        if stdout or not is_holding:
            self._held_until = time.monotonic() + self._patience.linger_seconds
        elif time.monotonic() >= self._held_until:
            # Somebody may wait for it before he sends more, also where stderr goes on.
            return self._ending.release()
        return self._ending.sift(stdout)

    def _received_amid_holding(self) -> list[Message]:
        return self._channels.receive(max(0.0, self._held_until - time.monotonic())) or []

    def _received(self) -> list[Message]:
        patience = self._patience.linger_seconds if self._status or self._is_missing else self._patience.silence_seconds
        messages = self._channels.receive(patience)
        self._is_silent = messages is None
        return messages or []

    def _is_over(self) -> bool:
        """Whether nothing more will come, after the connection's last word or a silence."""
        if self._channels.is_ended:
            return True
        if not self._is_silent:
            self._is_missing = False
            return False
        if self._status or self._is_missing:
            return True
        self._channels.ping()
        # It may have ended a moment ago, its status on its way: then a little more patience.
        self._is_missing = self._is_gone()
        return False

    def _sorted(self, messages: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
        """The pieces of stdout; keeps what is of the other channels."""
        for channel, content in messages:
            if channel == STDOUT:
                yield content
            elif channel == STDERR:
                self._keep_stderr(content)
            elif channel == STATUS and len(self._status) < _STATUS_BYTES:
                self._status += content

    def _keep_stderr(self, content: bytes) -> None:
        # What the shell says is one write, and stays in one piece amid what the command says.
        self._tail = bytearray(self._said.sub(self._hear, self._tail + content))
        del self._tail[:-STDERR_BYTES]

    def _hear(self, said: re.Match[bytes]) -> bytes:
        """Takes a word of the shell's out of stderr."""
        word = said[1]
        if word == b"fed":
            self._is_fed = True
        elif word == b"over":
            self._wants_no_more.set()
        else:
            self._pid = int(word)
        return b""

    def _finish(self) -> None:
        if self._input_error is not None:
            raise self._input_error
        status = None if self._was_ended else _parsed(self._status)
        if status is None:
            raise StreamBroken(
                f"the connection to {self._what} broke before its exit status came: what was read is not whole; run it again"
            )
        if status.get("status") == "Success":
            self._check_success()
            return
        code = _exit_code(status)
        if code is None:
            raise StreamBroken(
                f"{self._what} was lost: {scrub_text(str(status.get('message')))[:_SHOWN]}; what was read is not whole; "
                "run it again"
            )
        # Of others the message says no more, and quotes our whole script.
        could_not_start = str(status.get("message", "")) if code in _NOT_STARTED else ""
        tail = self._shown_tail() or scrub_text(could_not_start)
        raise failed(self._what, code, tail, killed_by=_signal_name(code))

    def _check_success(self) -> None:
        """Of a command that is said to have ended well."""
        ended = self._ending.said()
        if ended is None:
            raise StreamBroken(
                f"{self._what} is said to have succeeded, and the end of its output did not come: the connection behind "
                "the API server broke; what was read is not whole; run it again"
            )
        if self._has_input and not self._is_fed:
            raise StreamBroken(
                f"the input of {self._what} broke off: what it did with a part of it is not whole; run it again"
            )
        if ended.exit_code:
            raise failed(self._what, ended.exit_code, self._shown_tail(), killed_by=_signal_name(ended.exit_code))
        if ended.went_on:
            raise wrote_on(self._what, self._shown_tail())
        if (ended.has_left_input or self._has_left_input) and not self._may_leave_input:
            raise left_input(self._what, self._shown_tail())

    def _shown_tail(self) -> str:
        return scrub_text(bytes(self._tail).decode(errors="replace")).strip()

    # -- what goes -----------------------------------------------------------------------------------------------------

    def _write_stdin(self, chunks: Iterable[bytes]) -> None:
        try:
            for block in _blocks(chunks):
                if self._wants_no_more.is_set():
                    self._has_left_input = True
                    break
                size = min(len(block), _PIECE)
                self._channels.send(STDIN, b"%d %d\n" % (len(block) // size, size))
                self._channels.send(STDIN, block)
            self._channels.send(STDIN, b"0 0\n")
            self._channels.end(STDIN)
        except ConnectionEnded:
            # Its exit status tells whether the command read as much as it wanted, or is gone.
            return
        except BaseException as error:  # noqa: BLE001  whatever the caller's iterator raises is raised to the caller
            self._input_error = error
            # No last block has gone over, so the command is killed with the end of the connection.
            self._channels.close()

    # -- aside ---------------------------------------------------------------------------------------------------------

    def _kill(self) -> None:
        """Best effort: a command that cannot be ended because its pod or the API server is gone needs no ending."""
        until = time.monotonic() + self._patience.aside_seconds
        while self._pid is None:
            messages = self._channels.receive(until - time.monotonic())
            if messages is None:
                return
            for _ in self._sorted(messages):
                pass
        if not self._status:
            with contextlib.suppress(MaintenanceError):
                self._aside(KILL)

    def _is_gone(self) -> bool:
        """Whether it is known that no process of the command is left."""
        if self._pid is None:
            # There is no shell, or the runtime lets us not hear it.
            return False
        try:
            return _exit_code(self._aside(IS_ALIVE) or {}) is not None
        except PlatformUnavailable:
            # The pod is not there, or the API server is not: then this connection ends by itself, or it may go on.
            return False

    def _aside(self, script: str) -> dict[str, Any] | None:
        """The status of a second command, about the process group of the first."""
        channels, status = self._opener(["sh", "-c", script, str(self._pid)], False), bytearray()
        try:
            while not channels.is_ended and not _parsed(status):
                messages = channels.receive(self._patience.aside_seconds)
                if messages is None:
                    break
                status += b"".join(content for channel, content in messages if channel == STATUS)
        finally:
            channels.close()
        return _parsed(status)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of whole pieces, at most 4 MiB; what is no whole piece is a block of its own, at the end and
    before an empty chunk. None is empty."""
    held: list[memoryview] = []
    size = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while size + len(rest) >= _BLOCK:
            missing = _BLOCK - size
            yield b"".join([*held, rest[:missing]])
            held, size, rest = [], 0, rest[missing:]
        held.append(rest)
        size += len(rest)
        if not chunk:
            yield from _split(b"".join(held))
            held, size = [], 0
    yield from _split(b"".join(held))


def _split(held: bytes) -> Iterator[bytes]:
    whole = len(held) // _PIECE * _PIECE
    yield from filter(None, (held[:whole], held[whole:]))


def _parsed(status: bytes | bytearray) -> dict[str, Any] | None:
    """The Status that ended the command; None where there is none, or not all of it."""
    try:
        document = json.loads(bytes(status))
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _exit_code(status: dict[str, Any]) -> int | None:
    """Of a command that ran or could not be started; None for one that was lost."""
    causes = (status.get("details") or {}).get("causes") or []
    codes = [one.get("message", "") for one in causes if one.get("reason") == "ExitCode"]
    if codes and codes[0].isdigit():
        return int(codes[0])
    message = str(status.get("message", ""))
    if "executable file not found" in message or "no such file or directory" in message:
        return 127
    return 126 if "permission denied" in message else None


def _signal_name(code: int) -> str | None:
    """The signal that shells and runtimes tell by an exit code of 128 and its number."""
    try:
        return signal.Signals(code - 128).name
    except ValueError:
        return None
