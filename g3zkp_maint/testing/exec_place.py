"""Commands run on this machine as a platform runs them in a pod, for whatever needs no more of a platform than that."""

from __future__ import annotations

import os
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
    """`received` counts the bytes that commands have written, `started` the commands."""

    cwd: Path
    received: int = 0
    started: int = 0
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        node = Path(messenger.node_binary()).parent
        self.env = {"PATH": f"{node}{os.pathsep}{os.environ.get('PATH', os.defpath)}", **self.env}

    def exec(self, workload: str, argv: Sequence[str], stdin: Iterable[bytes] | None = None) -> ExecStream:
        """See Platform.exec."""
        self.started += 1
        return _Counted(LocalExec(argv, workload=workload, env=self.env, cwd=self.cwd, stdin=stdin), self)

    def source(self, root: Path) -> ExecSource:
        return ExecSource(self._agent(root))

    def target(self, root: Path) -> ExecTarget:
        return ExecTarget(self._agent(root))

    def _agent(self, root: Path) -> Agent:
        return Agent(self, "g3zkp-messenger", str(root))


@dataclass
class _Counted:
    stream: LocalExec
    place: ExecPlace

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.stream:
            self.place.received += len(piece)
            yield piece

    def read_all(self, limit: int = 1 << 20) -> bytes:
        return self.stream.read_all(limit)

    def close(self) -> None:
        self.stream.close()
