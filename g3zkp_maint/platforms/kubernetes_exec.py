"""A command in a pod, with the guarantees of ExecStream.

The status frame alone tells that a command has ended and how; a stream that ends without it is broken, whatever came
before. Three things that Kubernetes does not give are given by a few lines of shell around the command:

- **An end of input that means all of it.** Before protocol v5 a client cannot end stdin, and in every version a connection
  that breaks ends it, so that a command takes a part for the whole. Here the input goes over in blocks, each after its
  length, and a last one of length 0; where that does not come, the command is killed before it sees an end.
- **An end of the command when nobody wants it any more.** The API server lets a command run on whose connection is closed.
  Here its process id comes first, on stderr, so that it can be killed, with its whole process group.
- **A status although input is left over.** Runtimes hang at the end of a command that has not read all that was sent to it.
  Here the rest is read for it, and the sender told that no more is wanted. For one that was killed nobody reads; so a
  command that has been silent for a while is asked after, by its process id.

Needs `sh` in the image, and `dd` for input: busybox has both.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from g3zkp_maint.errors import BadInput, ExecFailed, MaintenanceError, PlatformUnavailable, StreamBroken
from g3zkp_maint.platforms.exec_output import STDERR_BYTES, read_whole
from g3zkp_maint.platforms.kubernetes_socket import (
    STATUS,
    STDERR,
    STDIN,
    STDOUT,
    ChannelSocket,
    ConnectionEnded,
    Message,
)
from g3zkp_maint.scrubbing import scrub_text

_SHOWN = 2000
_BLOCK = 1 << 20
_STATUS_BYTES = 1 << 20
#: After the status comes the end of the connection at once; a server that does not end it is not waited for longer.
_LINGER_SECONDS = 5.0
#: How long a command that is to be ended may take to tell its process id; how long asking after one may take.
_ASIDE_SECONDS = 5.0
#: After so long a silence a command is asked after.
_SILENCE_SECONDS = 20.0
_JOIN_SECONDS = 2.0

# The first argument is a word that no command writes: it marks what the shell says on stderr.
_PLAIN = 'echo "$1 $$" >&2; shift; exec "$@"'
# Each turn of the loop moves one block. 141 is SIGPIPE: the command wants no more. What `end` kills is the process group:
# runtimes give each exec its own.
_FED = """mark=$1; shift; echo "$mark $$" >&2
end() { kill -KILL "-$$" 2>/dev/null || kill -KILL "$$"; }
feed() {
  wanted=yes
  while read -r size; do
    [ "$size" = 0 ] && return
    if [ "$wanted" ]; then
      dd bs="$size" count=1 iflag=fullblock 2>/dev/null
      case $? in 0) ;; 141) wanted=; echo "$mark closed" >&2 ;; *) end ;; esac
    else
      dd bs="$size" count=1 iflag=fullblock of=/dev/null 2>/dev/null
    fi
  done
  end
}
feed | "$@"
"""
_IS_ALIVE = 'kill -0 "-$0" 2>/dev/null'
_KILL = """kill -TERM "-$0" 2>/dev/null || exit 0
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "-$0" 2>/dev/null || exit 0; sleep 0.1; done
kill -KILL "-$0" 2>/dev/null || exit 0
"""

#: Opens an exec of the argument list in the same container; the flag says whether it has input.
Opener = Callable[[Sequence[str], bool], ChannelSocket]


class KubernetesExec:
    """See ExecStream. `where` is shown in errors."""

    def __init__(
        self, opener: Opener, argv: Sequence[str], *, where: str, stdin: Iterable[bytes] | None = None
    ) -> None:
        if not argv:
            raise BadInput(f"no command was given to run in {where}")
        self._what = f"{PurePosixPath(argv[0]).name} in {where}"
        self._opener = opener
        self._mark = secrets.token_hex(8).encode()
        self._tail = bytearray()
        self._status = bytearray()
        self._pid: int | None = None
        self._is_missing = False
        self._is_silent = False
        self._wants_no_more = threading.Event()
        self._is_done = False
        self._is_closed = False
        self._input_error: BaseException | None = None
        script = _PLAIN if stdin is None else _FED
        self._channels = opener(["sh", "-c", script, "sh", self._mark.decode(), *argv], stdin is not None)
        self._feed = threading.Thread(target=self._write_stdin, args=(stdin,), name="exec-stdin", daemon=True)
        if stdin is not None:
            self._feed.start()

    def __iter__(self) -> Iterator[bytes]:
        """See ExecStream. Leaving the loop early ends the command."""
        try:
            while not self._is_over():
                piece = b"".join(self._sorted(self._received()))
                if piece:
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
            self._kill()
        self._channels.close()
        if self._feed.is_alive():
            self._feed.join(_JOIN_SECONDS)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def _received(self) -> list[Message]:
        patience = _LINGER_SECONDS if self._status or self._is_missing else _SILENCE_SECONDS
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
        self._tail += content
        if self._pid is None and b"\n" in self._tail:
            first, _, rest = self._tail.partition(b"\n")
            mark, _, pid = first.partition(b" ")
            # Where there is no shell, or the runtime speaks first, nothing can be killed or asked after.
            self._pid = int(pid) if mark == self._mark else 0
            if self._pid:
                self._tail = rest
        closed = self._mark + b" closed\n"
        if closed in self._tail:
            self._wants_no_more.set()
            self._tail = self._tail.replace(closed, b"")
        del self._tail[:-STDERR_BYTES]

    def _finish(self) -> None:
        if self._input_error is not None:
            raise self._input_error
        status = _parsed(self._status)
        if status is None:
            raise StreamBroken(
                f"the connection to {self._what} broke before its exit status came: what was read is not whole; run it again"
            )
        if status.get("status") == "Success":
            return
        code = _exit_code(status)
        if code is None:
            raise StreamBroken(
                f"{self._what} was lost: {scrub_text(str(status.get('message')))[:_SHOWN]}; what was read is not whole; "
                "run it again"
            )
        self._raise_ended(code, self._shown_tail() or scrub_text(str(status.get("message", ""))))

    def _raise_ended(self, code: int, tail: str) -> None:
        ending = f"; stderr ends: {tail[-_SHOWN:]}" if tail else "; it wrote nothing to stderr"
        name = _signal_name(code)
        if name is not None:
            raise StreamBroken(f"{self._what} was killed by {name}: what it wrote is not whole; run it again{ending}")
        raise ExecFailed(f"{self._what} ended with exit code {code}{ending}", exit_code=code, stderr_tail=tail)

    def _shown_tail(self) -> str:
        return scrub_text(bytes(self._tail).decode(errors="replace")).strip()

    # -- what goes -----------------------------------------------------------------------------------------------------

    def _write_stdin(self, chunks: Iterable[bytes]) -> None:
        try:
            for block in _blocks(chunks):
                if self._wants_no_more.is_set():
                    break
                self._channels.send(STDIN, b"%d\n" % len(block))
                self._channels.send(STDIN, block)
            self._channels.send(STDIN, b"0\n")
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
        while self._pid is None:
            messages = self._channels.receive(_ASIDE_SECONDS)
            if messages is None:
                return
            for _ in self._sorted(messages):
                pass
        if self._pid and not self._status:
            with contextlib.suppress(MaintenanceError):
                self._aside(_KILL)

    def _is_gone(self) -> bool:
        """Whether it is known that no process of the command is left."""
        if not self._pid:
            return False
        try:
            return _exit_code(self._aside(_IS_ALIVE) or {}) is not None
        except PlatformUnavailable:
            # The pod is not there, or the API server is not: then this connection ends by itself, or it may go on.
            return False

    def _aside(self, script: str) -> dict[str, Any] | None:
        """The status of a second command, about the process group of the first."""
        channels, status = self._opener(["sh", "-c", script, str(self._pid)], False), bytearray()
        try:
            while not channels.is_ended and not _parsed(status):
                messages = channels.receive(_ASIDE_SECONDS)
                if messages is None:
                    break
                status += b"".join(content for channel, content in messages if channel == STATUS)
        finally:
            channels.close()
        return _parsed(status)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of 1 MiB, the last one shorter, and one before an empty chunk; none empty."""
    held = bytearray()
    for chunk in chunks:
        if not chunk and held:
            yield bytes(held)
            held.clear()
        held += chunk
        while len(held) >= _BLOCK:
            yield bytes(held[:_BLOCK])
            del held[:_BLOCK]
    if held:
        yield bytes(held)


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
