"""The API server under the address that pods are told: in the tests' cluster it listens on 127.0.0.1 of the node alone, and its
Service has no endpoint."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from g3zkp_maint.testing.kubectl import Kubectl

#: The node, as pods see it.
_NODE = "10.244.0.1"
_START_SECONDS = 10


@contextmanager
def reachable_api_server(kubeconfig: Path) -> Iterator[None]:
    """For every pod, by its Service; as long as this process lives and the context lasts."""
    kubectl = Kubectl(kubeconfig, "default")
    server = urlsplit(kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}").decode())
    with _forwarding(str(server.hostname), server.port or 443) as port:
        ports = [{"name": "https", "port": port, "protocol": "TCP"}]
        subset = {"addresses": [{"ip": _NODE}], "ports": ports}
        name = {"name": "kubernetes", "namespace": "default"}
        kubectl.apply([{"apiVersion": "v1", "kind": "Endpoints", "metadata": name, "subsets": [subset]}])
        try:
            yield
        finally:
            kubectl("delete", "endpoints", "kubernetes")


@contextmanager
def _forwarding(host: str, port: int) -> Iterator[int]:
    """The port of the node from which connections go on to `host`:`port`."""
    started: Future[tuple[int, Callable[[], object]]] = Future()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, port)
        await asyncio.gather(_carry(reader, back), _carry(there, writer), return_exceptions=True)

    async def serve() -> None:
        loop, ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(connected, _NODE, 0)
        number = server.sockets[0].getsockname()[1]
        started.set_result((number, lambda: loop.call_soon_threadsafe(ending.set)))
        await ending.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="to the API server", daemon=True)
    thread.start()
    number, end = started.result(_START_SECONDS)
    try:
        yield number
    finally:
        end()
        thread.join(_START_SECONDS)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
