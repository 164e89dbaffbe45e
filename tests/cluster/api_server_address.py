"""The API server under the address that pods are told: in the tests' cluster it listens on 127.0.0.1 of the node alone, and its
Service has no endpoint."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

from g3zkp_maint.testing.kubectl import Kubectl

#: The node, as pods see it.
NODE = "10.244.0.1"


@contextmanager
def reachable_api_server(kubeconfig: Path) -> Iterator[None]:
    """For every pod, by its Service; as long as the context lasts."""
    kubectl = Kubectl(kubeconfig, "default")
    server = urlsplit(kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}").decode())
    with forwarding(NODE, str(server.hostname), server.port or 443) as port:
        ports = [{"name": "https", "port": port, "protocol": "TCP"}]
        subset = {"addresses": [{"ip": NODE}], "ports": ports}
        name = {"name": "kubernetes", "namespace": "default"}
        kubectl.apply([{"apiVersion": "v1", "kind": "Endpoints", "metadata": name, "subsets": [subset]}])
        try:
            yield
        finally:
            kubectl("delete", "endpoints", "kubernetes")


@contextmanager
def forwarding(here: str, host: str, port: int) -> Iterator[int]:
    """The port of address `here` from which connections go on to `host`:`port`."""

    class Forward(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, port)) as there:
                back = threading.Thread(target=_carry, args=(there, self.request), daemon=True)
                back.start()
                _carry(self.request, there)
                back.join()

    with ThreadingTCPServer((here, 0), Forward) as server:
        server.daemon_threads = True
        # Connections that are open at the end go on for as long as this process: nobody waits for them.
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, name="to the API server", daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    """Until the source ends, or either is broken; the sink is told."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
