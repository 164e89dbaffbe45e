"""A webhook of this machine, for tests: takes notices as Apprise's `json://` posts them, and
Alertmanager's, and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr


class Webhook:
    """`posted` is each path with its document, in order; `status` is what is answered from now on."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self._password = password

    def url(self, path: str = "") -> SecretStr:
        """As it goes into `notices.urls`."""
        return SecretStr(f"json://user:{self._password}@127.0.0.1:{self.port}/{path}")

    def titles(self) -> list[str]:
        return [document["title"] for _, document in self.posted]


@contextmanager
def running_webhook(password: str = "not-to-be-shown") -> Iterator[Webhook]:  # noqa: S107 -- of a test
    """Serves on a free port while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            webhook.posted.append((self.path, json.loads(body)))
            self.send_response(webhook.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    webhook = Webhook(server.server_port, password)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield webhook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
