"""The exec endpoint of an API server, for tests: commands run on this machine, spoken to by SPDY or WebSockets of v4 or v5.

A cluster speaks one protocol, and speaks it well. Here a test chooses the protocol, and may put its own bytes in place of
what a server would say.
"""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from g3zkp_maint.platforms.kubernetes_channels import Channels
from g3zkp_maint.platforms.kubernetes_client import Access, KubernetesClient
from g3zkp_maint.platforms.kubernetes_exec import Opener
from g3zkp_maint.platforms.kubernetes_handshake import open_channels
from g3zkp_maint.platforms.kubernetes_spdy import SPDY
from g3zkp_maint.platforms.kubernetes_websocket import V5
from g3zkp_maint.testing.exec_peer import END_OF_CHANNEL, STDERR, STDIN, STDOUT, SUCCESS, ExecPeer, WebSocketPeer
from g3zkp_maint.testing.spdy_peer import SpdyPeer

_KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
clusters: [{{name: here, cluster: {{server: "{url}"}}}}]
users: [{{name: me, user: {{}}}}]
"""
_PIECE = 32 << 10
_RECEIVED = 256 << 10
_LINE = 64


Behaviour = Callable[[ExecPeer], None]


def run_command(peer: ExecPeer) -> None:
    """Does what a node does: runs the command, in a session of its own; its status comes last."""
    _run(peer, status_of)


def run_command_and_say_success(peer: ExecPeer) -> None:
    """As an API server whose connection to the node breaks at the end of the command."""
    _run(peer, lambda _: SUCCESS)


def _run(peer: ExecPeer, told: Callable[[int], dict[str, Any]]) -> None:
    with subprocess.Popen(
        peer.argv,
        stdin=subprocess.PIPE if peer.has_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        bufsize=0,
    ) as process:
        pumps = [
            threading.Thread(target=_pump, args=(peer, channel, pipe))
            for channel, pipe in ((STDOUT, process.stdout), (STDERR, process.stderr))
        ]
        # Nobody waits for it: it ends with the connection.
        threading.Thread(target=_feed, args=(peer, process.stdin), daemon=True).start()
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        code = process.wait()
    with suppress(OSError):
        peer.status(told(code if code >= 0 else 128 - code))
        peer.close()


def status_of(exit_code: int) -> dict[str, Any]:
    """As a kubelet words it."""
    if exit_code == 0:
        return SUCCESS
    causes = [{"reason": "ExitCode", "message": str(exit_code)}]
    message = f"command terminated with non-zero exit code: exit status {exit_code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "NonZeroExitCode",
        "details": {"causes": causes},
    }


def _pump(peer: ExecPeer, channel: int, pipe: IO[bytes] | None) -> None:
    while pipe is not None and (piece := pipe.read(_PIECE)):
        with suppress(OSError):  # the client is gone, and the command is let run on, as by an API server
            peer.message(channel, piece)


def _feed(peer: ExecPeer, pipe: IO[bytes] | None) -> None:
    """Also reads the client's other frames, where there is no input."""
    is_open = pipe is not None
    for channel, content in peer.received():
        if pipe is None or not is_open:
            continue
        try:
            if channel == END_OF_CHANNEL and content == bytes((STDIN,)):
                pipe.close()
                is_open = False
            elif channel == STDIN:
                _write_whole(pipe, content)
        except (BrokenPipeError, ValueError):
            is_open = False
    if pipe is not None:
        with suppress(BrokenPipeError):
            pipe.close()


def _write_whole(pipe: IO[bytes], content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[pipe.write(view) :]


def _reply(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


class ExecServer(socketserver.ThreadingTCPServer):
    """It is of the version that has `protocols`. `behaviour` is asked anew for each command; `peers` are those that came for
    one, in order. Where `answer` is set, that is all that they hear; `answer_to_version` and `answer_to_spdy` likewise for who
    asks for that. Without `takes_websockets` it is behind a proxy that lets none through."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behaviour: Behaviour, protocols: Sequence[str]) -> None:
        self.behaviour = behaviour
        self.protocols = protocols
        self.takes_websockets = True
        self.answer: bytes | None = None
        self.answer_to_version: bytes | None = None
        self.answer_to_spdy: bytes | None = None
        self.peers: list[ExecPeer] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def version(self) -> dict[str, str]:
        return {"major": "1", "minor": "", "gitVersion": "v1.30.0" if V5 in self.protocols else "v1.29.15-gke.1"}


class _Handler(socketserver.BaseRequestHandler):
    server: ExecServer

    def handle(self) -> None:
        server, asked = self.server, self.request.recv(_LINE, socket.MSG_PEEK)
        if asked.startswith(b"GET /version "):
            self._answer(server.answer_to_version or _reply(b"200 OK", json.dumps(server.version).encode()))
        elif server.answer is not None:
            self._answer(server.answer)
        elif asked.startswith(b"GET ") and server.takes_websockets:
            self._behave(WebSocketPeer(self.request))
        elif asked.startswith(b"POST ") and server.answer_to_spdy is not None:
            self._answer(server.answer_to_spdy)
        elif asked.startswith(b"POST ") and SPDY in server.protocols:
            self._behave(SpdyPeer(self.request))
        else:
            self._answer(_reply(b"400 Bad Request", b"Upgrade request required"))

    def _answer(self, answer: bytes) -> None:
        self.request.recv(_RECEIVED)
        self.request.sendall(answer)

    def _behave(self, peer: ExecPeer) -> None:
        peer.accept(self.server.protocols)
        self.server.peers.append(peer)
        with suppress(OSError):  # a client may leave at any time
            self.server.behaviour(peer)


@contextmanager
def running_exec_server(behaviour: Behaviour, protocols: Sequence[str]) -> Iterator[ExecServer]:
    """Stopped afterwards; connections that are still open end then."""
    with ExecServer(behaviour, protocols) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            for peer in server.peers:
                with suppress(OSError):
                    peer.sock.shutdown(socket.SHUT_RDWR)


def opener_at(url: str, folder: Path) -> Opener:
    """Starts commands on a server, by the product's own client; its kubeconfig is put into `folder`."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(_KUBECONFIG.format(url=url), encoding="utf-8")
    client = KubernetesClient(Access(kubeconfig, request_seconds=5), "g3zkp")

    def opened(command: Sequence[str], has_input: bool) -> Channels:
        return open_channels(client, "a-pod", command, has_input=has_input)

    return opened
