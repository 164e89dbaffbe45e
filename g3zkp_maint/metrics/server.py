"""The exporter's web server: `/metrics`, pages made when they are asked for (the calendar of windows), and `/health`, which is
cheap and says only that it serves. Nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from g3zkp_maint.errors import MaintenanceError, SettingsError

#: A client that says nothing for so long is left.
_IDLE_SECONDS = 20.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """`read` makes its content, on a thread of the request's own, and may raise any MaintenanceError."""

    type: str
    read: Callable[[], bytes]


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """A line a scrape would be all that the log holds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def serving(collector: Collector, *, address: str, port: int, pages: Mapping[str, Page] | None = None) -> Iterator[str]:
    """Serves until the block is left; yields the address of the metrics. Port 0 is a free one. `pages` by their path.

    Raises SettingsError where it cannot listen there.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    server = _listening(address, port)
    server.set_app(_app(make_wsgi_app(registry), pages or {}))
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


def _app(metrics: Callable[..., Iterable[bytes]], pages: Mapping[str, Page]) -> Callable[..., Iterable[bytes]]:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)
        status, kind, content = _answer(path, pages)
        start_response(status, [("Content-Type", kind)])
        return [content]

    return app


def _answer(path: str, pages: Mapping[str, Page]) -> tuple[str, str, bytes]:
    """Status, content type and content."""
    if path == "/health":
        return "200 OK", "text/plain", b"ok\n"
    page = pages.get(path)
    if page is None:
        return "404 Not Found", "text/plain", b"see /metrics\n"
    try:
        return "200 OK", page.type, page.read()
    except MaintenanceError as error:
        _log.warning("page-failed", path=path, reason=str(error))
        return "503 Service Unavailable", "text/plain", b"not known now; the exporter's log says why\n"
