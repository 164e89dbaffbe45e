"""Commands run on this machine as a platform runs them in a pod, for whatever needs no more of a platform than that."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import messenger
from g3zkp_maint.backup.agent.call import Agent
from g3zkp_maint.backup.exec_source import ExecSource
from g3zkp_maint.backup.exec_target import ExecTarget
from g3zkp_maint.platforms.base import ExecStream
from g3zkp_maint.platforms.local_exec import LocalExec


@dataclass
class ExecPlace:
    """`received` counts the bytes that commands have written, `started` the commands. The next command is killed once
    `kill_after_received` bytes have come from it; command number `kill_command` when `kill_pieces` of its input are sent,
    or all but the last. `env` is added to that of each."""

    cwd: Path
    env: dict[str, str] = field(default_factory=dict)
    received: int = 0
    started: int = 0
    kill_after_received: int | None = None
    kill_command: int | None = None
    kill_pieces: int = 0

    def exec(
        self, workload: str, argv: Sequence[str], stdin: Iterable[bytes] | None = None, *, may_leave_input: bool = False
    ) -> ExecStream:
        """See Platform.exec."""
        self.started += 1
        node = Path(messenger.node_binary()).parent
        env = {"PATH": f"{node}{os.pathsep}{os.environ.get('PATH', os.defpath)}", **self.env}
        return _Watched(self, argv, workload, env, stdin, may_leave_input)

    def source(self, root: Path) -> ExecSource:
        return ExecSource(self._agent(root))

    def target(self, root: Path) -> ExecTarget:
        return ExecTarget(self._agent(root))

    def _agent(self, root: Path) -> Agent:
        return Agent(self, "g3zkp-messenger", str(root))


class _Watched:
    """A command that is counted, and may be killed."""

    def __init__(
        self,
        place: ExecPlace,
        argv: Sequence[str],
        workload: str,
        env: dict[str, str],
        stdin: Iterable[bytes] | None,
        may_leave_input: bool,
    ) -> None:
        self._place = place
        self._received = 0
        self._receive_limit, place.kill_after_received = place.kill_after_received, None
        self._is_doomed = place.started == place.kill_command
        fed = None if stdin is None else self._fed(stdin)
        self._is_started = threading.Event()
        self._stream = LocalExec(
            argv, workload=workload, env=env, cwd=place.cwd, stdin=fed, may_leave_input=may_leave_input
        )
        self._is_started.set()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._received += len(piece)
            self._place.received += len(piece)
            if self._receive_limit is not None and self._received >= self._receive_limit:
                self._kill()
            yield piece

    def _fed(self, stdin: Iterable[bytes]) -> Iterator[bytes]:
        last = b""
        for number, piece in enumerate(stdin):
            yield last
            last = piece
            if self._is_doomed and number >= self._place.kill_pieces:
                self._kill()
        if self._is_doomed:
            self._kill()
        yield last

    def _kill(self) -> None:
        self._is_started.wait()  # its input may be asked for before we know it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._stream.pid, signal.SIGKILL)

    def read_all(self, limit: int = 1 << 20) -> bytes:
        return self._stream.read_all(limit)

    def close(self) -> None:
        self._stream.close()
