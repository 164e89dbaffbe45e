"""One running process of the stack: its start, its end with all that it has started, whether it is ready."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import Executor, Future

from g3zkp_maint.platforms.local_mount import mount
from g3zkp_maint.platforms.process import ProcessIdentity, identify, signal_group
from g3zkp_maint.stack.processes import ProcessSpec

_LOG_BYTES = 16 << 20
#: A process that is not ready yet is asked often, one that is ready now and then.
_SOON_SECONDS, _LATER_SECONDS = 0.15, 2.0
#: One unanswered question may be a long pause of the process; so many in a row are not.
_UNREADY_AFTER = 3


class Child:
    """A process group of its own: a terminal's Ctrl-C is not for it, and it is signalled as a whole in the end."""

    def __init__(self, spec: ProcessSpec, now: float) -> None:
        self.spec = spec
        self.started_at = now
        self.is_ready = spec.probe is None
        self.kill_at: float | None = None
        self._process = _started(spec)
        self.identity: ProcessIdentity = identify(self._process.pid)
        self._asked: Future[bool] | None = None
        self._ask_at = now
        self._misses = 0

    @property
    def is_stopping(self) -> bool:
        return self.kill_at is not None

    def ended(self) -> int | None:
        """The exit code (negative: the signal) once it has ended. What it has left in its group is killed then, before
        its id can be given to another."""
        if self._process.returncode is None and _has_exited(self._process.pid):
            signal_group(self._process.pid, signal.SIGKILL)
        return self._process.poll()

    def stop(self, now: float, *, at_once: bool = False) -> None:
        """Asks it to end, or insists where its time is over; to be called again until it has ended."""
        if self.kill_at is None:
            self.kill_at = now + self.spec.stop_seconds
            self.is_ready = False
            signal_only(self._process.pid, signal.SIGTERM)
        if at_once or now >= self.kill_at:
            signal_group(self._process.pid, signal.SIGKILL)

    def probe(self, executor: Executor, now: float) -> None:
        """Asks whether it is ready, without waiting for the answer; takes the answer that has come."""
        if self.spec.probe is None:
            return
        if self._asked is not None and self._asked.done():
            self._note(answer=self._asked.result())
            self._asked, self._ask_at = None, now + (_LATER_SECONDS if self.is_ready else _SOON_SECONDS)
        if self._asked is None and now >= self._ask_at:
            self._asked = executor.submit(self.spec.probe.is_ready)

    def _note(self, *, answer: bool) -> None:
        self._misses = 0 if answer else self._misses + 1
        if answer and not self.is_stopping:
            self.is_ready = True
        elif self._misses >= _UNREADY_AFTER:
            self.is_ready = False


def signal_only(pid: int, number: signal.Signals) -> None:
    """Signals one process: a group would get the request at its leader and, once more, at what the leader stops itself."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _started(spec: ProcessSpec) -> subprocess.Popen[bytes]:
    if spec.log.exists() and spec.log.stat().st_size > _LOG_BYTES:
        spec.log.replace(spec.log.with_suffix(".log.1"))
    for one in spec.mounts:
        mount(one)
    with spec.log.open("ab") as log:
        return subprocess.Popen(
            spec.argv,
            env=dict(spec.env),
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _has_exited(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
