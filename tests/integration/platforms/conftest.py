"""Commands on a WebSocket server of this machine, by the product's own client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from g3zkp_maint.platforms.kubernetes_client import Access, KubernetesClient
from g3zkp_maint.platforms.kubernetes_exec import KubernetesExec, Patience
from g3zkp_maint.platforms.kubernetes_handshake import open_channels
from g3zkp_maint.platforms.kubernetes_socket import V4, V5, ChannelSocket
from g3zkp_maint.testing.exec_server import Behaviour, ExecServer, run_command, running_exec_server

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
clusters: [{{name: here, cluster: {{server: "{url}"}}}}]
users: [{{name: me, user: {{}}}}]
"""
PATIENCE = Patience(silence_seconds=0.5, linger_seconds=0.3, aside_seconds=2.0)


class ExecSite:
    """A server, and how commands are started on it."""

    def __init__(self, server: ExecServer, kubeconfig: Path) -> None:
        self.server = server
        kubeconfig.write_text(KUBECONFIG.format(url=server.url))
        self._client = KubernetesClient(Access(kubeconfig, request_seconds=5), "g3zkp")

    def exec(
        self,
        *argv: str,
        stdin: Iterable[bytes] | None = None,
        may_leave_input: bool = False,
        patience: Patience = PATIENCE,
    ) -> KubernetesExec:
        return KubernetesExec(
            self._open, argv, where="a-pod", stdin=stdin, may_leave_input=may_leave_input, patience=patience
        )

    def _open(self, command: Sequence[str], has_input: bool) -> ChannelSocket:
        query = [("stdin", "true")] if has_input else []
        path = self._client.path("pods", "a-pod", "exec")
        return open_channels(self._client, path, [*query, *(("command", one) for one in command)])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ExecSite]]:
    """`serve(behaviour)` is a server that does as `behaviour` says; without one, it runs what it is asked to run."""
    with ExitStack() as stack:

        def start(behaviour: Behaviour = run_command, protocols: Sequence[str] = (V5, V4)) -> ExecSite:
            return ExecSite(stack.enter_context(running_exec_server(behaviour, protocols)), tmp_path / "kubeconfig")

        yield start
