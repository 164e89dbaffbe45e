"""The exporter's web server: `/metrics`, and `/health`, which is cheap and says only that it serves. Nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from g3zkp_maint.errors import SettingsError

#: A client that says nothing for so long is left.
_IDLE_SECONDS = 20.0


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """A line a scrape would be all that the log holds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def serving(collector: Collector, *, address: str, port: int) -> Iterator[str]:
    """Serves until the block is left; yields the address of the metrics. Port 0 is a free one.

    Raises SettingsError where it cannot listen there.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    server = _listening(address, port)
    server.set_app(_app(make_wsgi_app(registry)))
    thread = threading.Thread(target=server.serve_forever, name="metrics server", daemon=True)
    thread.start()
    try:
        host = f"[{address}]" if ":" in address else address
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listening(address: str, port: int) -> _Server:
    kind = _Server6 if ":" in address else _Server
    try:
        return kind((address, port), _Handler)
    except OSError as error:
        raise SettingsError(
            f"metrics.address={address}, metrics.port={port} cannot be listened on ({error.strerror}); give another"
        ) from error


def _app(metrics: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        found = path == "/health"
        start_response("200 OK" if found else "404 Not Found", [("Content-Type", "text/plain")])
        return [b"ok\n" if found else b"see /metrics\n"]

    return app
