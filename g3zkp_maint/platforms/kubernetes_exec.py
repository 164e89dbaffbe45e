"""A command in a pod, with the guarantees of ExecStream.

The status frame alone tells that a command has ended and how; a stream that ends without it is broken, whatever came
before. Two things that Kubernetes does not give are given by a few lines of shell around the command:

- **An end of input that means all of it.** Before protocol v5 a client cannot end stdin, and in every version a connection
  that breaks ends it, so that a command takes a part for the whole. Here the input goes over in blocks, each after its
  length, and a last one of length 0; where that does not come, the command is killed before it sees an end.
- **An end of the command when nobody wants it any more.** The API server lets a command run on whose connection is closed.
  Here its process id comes first, on stderr, so that it can be killed, with its whole process group.

Needs `sh` in the image, and `dd` for input: busybox has both.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from g3zkp_maint.errors import BadInput, ExecFailed, MaintenanceError, StreamBroken
from g3zkp_maint.platforms.kubernetes_socket import STATUS, STDERR, STDIN, STDOUT, ChannelSocket, ConnectionEnded
from g3zkp_maint.scrubbing import scrub_text

STDERR_BYTES = 64 << 10
_SHOWN = 2000
_BLOCK = 1 << 20
_STATUS_BYTES = 1 << 20
#: After the status comes the end of the connection at once; a server that does not end it is not waited for longer.
_LINGER_SECONDS = 5.0
#: How long a command that is to be ended may take to tell its process id.
_PID_SECONDS = 3.0
_JOIN_SECONDS = 2.0

_PLAIN = 'echo "$$" >&2; exec "$@"'
# Each step of the loop moves one block. What the loop kills is the process group: runtimes give each exec its own.
_FED = """echo "$$" >&2
end() { kill -KILL "-$$" 2>/dev/null || kill -KILL "$$"; }
feed() {
  while read -r size; do
    [ "$size" = 0 ] && return
    dd bs="$size" count=1 iflag=fullblock 2>/dev/null
    case $? in 0) ;; 141) return ;; *) end ;; esac
  done
  end
}
feed | "$@"
"""
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
        self._tail = bytearray()
        self._status = bytearray()
        self._pid: int | None = None
        self._is_done = False
        self._is_closed = False
        self._input_error: BaseException | None = None
        script = _PLAIN if stdin is None else _FED
        self._channels = opener(["sh", "-c", script, "sh", *argv], stdin is not None)
        self._feed = threading.Thread(target=self._write_stdin, args=(stdin,), name="exec-stdin", daemon=True)
        if stdin is not None:
            self._feed.start()

    def __iter__(self) -> Iterator[bytes]:
        """See ExecStream. Leaving the loop early ends the command."""
        try:
            while (messages := self._channels.receive(_LINGER_SECONDS if self._status else None)) is not None:
                piece = b"".join(self._sorted(messages))
                if piece:
                    yield piece
            self._is_done = True
            self._finish()
        finally:
            self.close()

    def read_all(self, limit: int = 1 << 20) -> bytes:
        """See ExecStream."""
        pieces: list[bytes] = []
        size = 0
        for piece in self:
            size += len(piece)
            if size > limit:
                self.close()
                raise BadInput(
                    f"{self._what} wrote more than the {limit} bytes that were expected; read it as a stream"
                )
            pieces.append(piece)
        return b"".join(pieces)

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
            # Where there is no shell, or the runtime speaks first, it is no number: then nothing can be killed.
            self._pid = int(first) if first.isdigit() else 0
            if first.isdigit():
                self._tail = rest
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

    def _kill(self) -> None:
        """Best effort: a command that cannot be ended because its pod or the API server is gone needs no ending."""
        while self._pid is None:
            messages = self._channels.receive(_PID_SECONDS)
            if messages is None:
                return
            for _ in self._sorted(messages):
                pass
        if self._pid == 0 or self._status:
            return
        try:
            channels = self._opener(["sh", "-c", _KILL, str(self._pid)], False)
        except MaintenanceError:
            return
        try:
            while channels.receive(_PID_SECONDS) is not None:
                pass
        finally:
            channels.close()


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
