"""A command run as a local process, with the guarantees of ExecStream.

Three pipes and no deadlock: the caller reads stdout, one thread feeds stdin, one drains stderr. stdout is whole only
with an exit status of 0; an input that fails half-way kills the command, so that a short input never passes for all. The
end of the input's pipe is held open here, too: what is in it when the command has ended is what the command has left.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import signal
import subprocess
import termios
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from g3zkp_maint.errors import BadInput, ExecFailed, PlatformError
from g3zkp_maint.platforms.exec_output import STDERR_BYTES, failed, left_input, read_whole
from g3zkp_maint.platforms.process import signal_group
from g3zkp_maint.scrubbing import scrub_text

_PIECE = 1 << 20
_TERM_SECONDS = 2.0
#: A grandchild may keep stderr open after the command has ended; nobody waits for it longer than this.
_DRAIN_SECONDS = 1.0
_SECRET_NAME = re.compile(r"PASSW|SECRET|TOKEN|KEY|CREDENTIAL|URL", re.IGNORECASE)


class LocalExec:
    """See ExecStream. `env` is the whole environment of the command; what in it is secret is masked in errors."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        workload: str,
        env: Mapping[str, str],
        cwd: Path,
        stdin: Iterable[bytes] | None = None,
        may_leave_input: bool = False,
    ) -> None:
        if not argv:
            raise BadInput(f"no command was given to run in {workload}")
        self._what = f"{Path(argv[0]).name} in {workload}"
        self._secrets = [value for name, value in env.items() if _SECRET_NAME.search(name) and len(value) > 3]
        self._tail = bytearray()
        self._may_leave_input = may_leave_input
        self._has_left_input = False
        self._input_error: BaseException | None = None
        self._unread: BinaryIO | None = None
        self._input: BinaryIO | None = None
        if stdin is not None:
            self._unread, self._input = _pipe_ends()
        try:
            self._process = _started(argv, env=env, cwd=cwd, stdin=self._unread, what=self._what)
        except PlatformError:
            for end in filter(None, (self._unread, self._input)):
                end.close()
            raise
        self._drain = threading.Thread(target=self._keep_stderr, name="exec-stderr", daemon=True)
        self._drain.start()
        self._feed = threading.Thread(target=self._write_stdin, args=(stdin,), name="exec-stdin", daemon=True)
        if stdin is not None:
            self._feed.start()

    def __iter__(self) -> Iterator[bytes]:
        """See ExecStream. Leaving the loop early ends the command."""
        try:
            descriptor = _pipe(self._process.stdout).fileno()
            while piece := os.read(descriptor, _PIECE):
                yield piece
            self._finish()
        finally:
            self.close()

    @property
    def pid(self) -> int:
        """The command's process, which leads its group."""
        return self._process.pid

    def read_all(self, limit: int = 1 << 20) -> bytes:
        """See ExecStream."""
        return read_whole(self, what=self._what, limit=limit)

    def close(self) -> None:
        """See ExecStream. Its whole process group gets SIGTERM, then SIGKILL."""
        if self._process.poll() is None:
            signal_group(self._process.pid, signal.SIGTERM)
            self._reap_or_kill()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None and not (pipe is self._process.stderr and self._drain.is_alive()):
                pipe.close()
        if self._unread is not None:
            self._unread.close()

    def _reap_or_kill(self) -> None:
        try:
            self._process.wait(_TERM_SECONDS)
        except subprocess.TimeoutExpired:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._drain.join(_DRAIN_SECONDS)

    def _finish(self) -> None:
        code = self._process.wait()
        self._drain.join(_DRAIN_SECONDS)
        if code == 0:
            self._settle_input()
        if self._input_error is not None:
            raise self._input_error
        tail = self._shown_tail()
        if code == 0:
            if self._has_left_input and not self._may_leave_input:
                raise left_input(self._what, tail)
            return
        raise failed(self._what, code, tail, killed_by=signal.Signals(-code).name if code < 0 else None)

    def _settle_input(self) -> None:
        """Learns whether the command, which has ended, has left any of it."""
        if self._unread is None or self._unread.closed:
            return
        held = array.array("i", [0])
        fcntl.ioctl(self._unread, termios.FIONREAD, held)
        self._has_left_input = held[0] > 0
        # Now nobody reads, and what is still to be written cannot be.
        self._unread.close()
        if not self._may_leave_input:
            self._feed.join()

    def _shown_tail(self) -> str:
        text = scrub_text(bytes(self._tail).decode(errors="replace")).strip()
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _keep_stderr(self) -> None:
        descriptor = _pipe(self._process.stderr).fileno()
        while piece := os.read(descriptor, STDERR_BYTES):
            self._tail += piece
            del self._tail[:-STDERR_BYTES]

    def _write_stdin(self, chunks: Iterable[bytes]) -> None:
        pipe = _pipe(self._input)
        try:
            for chunk in chunks:
                _write_whole(pipe, chunk)
        except BrokenPipeError:
            # The command has ended: its exit status tells how.
            self._has_left_input = True
        except BaseException as error:  # noqa: BLE001  whatever the caller's iterator raises is raised to the caller
            self._input_error = error
            if self._process.poll() is None:
                signal_group(self._process.pid, signal.SIGKILL)
        finally:
            pipe.close()


def _started(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdin: BinaryIO | None, what: str
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        # As a container runtime says it: 127 not found, 126 not to be run.
        code = 127 if isinstance(error, FileNotFoundError) else 126
        raise ExecFailed(f"{what} cannot be started: {error.strerror}", exit_code=code, stderr_tail="") from error
    except OSError as error:
        raise PlatformError(f"{what} cannot be started: {error.strerror}") from error


def _pipe_ends() -> tuple[BinaryIO, BinaryIO]:
    """Where it is read, and where it is written."""
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0)


def _write_whole(pipe: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[pipe.write(view) :]


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101  asked for at the start
    return pipe
