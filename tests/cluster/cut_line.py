"""A line between client and API server that can be cut, as by a restart of the server or a lost network."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import yaml

_PIECE = 256 << 10


class CutLine(socketserver.ThreadingTCPServer):
    """Passes bytes on, until it is cut: then both sides of every connection see an end, in mid-stream."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.sockets: list[socket.socket] = []
        super().__init__(("127.0.0.1", 0), _Pass)

    def cut(self) -> None:
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Pass(socketserver.BaseRequestHandler):
    server: CutLine

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as far:
            self.server.sockets += [self.request, far]
            back = threading.Thread(target=_pass_on, args=(far, self.request), daemon=True)
            back.start()
            _pass_on(self.request, far)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def cut_line(kubeconfig: Path, folder: Path) -> Iterator[tuple[CutLine, Path]]:
    """The line, and a kubeconfig that goes by it."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster = document["clusters"][0]["cluster"]
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    with CutLine(host, int(port)) as line:
        cluster["server"] = f"https://127.0.0.1:{line.server_address[1]}"
        cluster["tls-server-name"] = host
        by_line = folder / "by-line.conf"
        by_line.write_text(yaml.safe_dump(document))
        threading.Thread(target=line.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield line, by_line
        finally:
            line.shutdown()
            line.cut()
