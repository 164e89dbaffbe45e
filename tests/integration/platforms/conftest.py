"""Commands on a server of this machine, by the product's own client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from g3zkp_maint.platforms.kubernetes_exec import KubernetesExec, Patience
from g3zkp_maint.platforms.kubernetes_websocket import V4, V5
from g3zkp_maint.testing.exec_peer import MARK
from g3zkp_maint.testing.exec_server import Behaviour, ExecServer, opener_at, run_command, running_exec_server

PATIENCE = Patience(silence_seconds=0.5, linger_seconds=0.3, aside_seconds=2.0)


class ExecSite:
    """A server, and how commands are started on it."""

    def __init__(self, server: ExecServer, folder: Path) -> None:
        self.server = server
        self._opener = opener_at(server.url, folder)

    def exec(self, *argv: str, stdin: Iterable[bytes] | None = None, may_leave_input: bool = False) -> KubernetesExec:
        return KubernetesExec(
            self._opener,
            argv,
            where="a-pod",
            stdin=stdin,
            may_leave_input=may_leave_input,
            patience=PATIENCE,
            mark=MARK,
        )


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ExecSite]]:
    """`serve(behaviour)` is a server that does as `behaviour` says; without one, it runs what it is asked to run."""
    with ExitStack() as stack:

        def start(behaviour: Behaviour = run_command, protocols: Sequence[str] = (V5, V4)) -> ExecSite:
            return ExecSite(stack.enter_context(running_exec_server(behaviour, protocols)), tmp_path)

        yield start
