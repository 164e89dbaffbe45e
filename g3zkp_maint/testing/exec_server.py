"""The exec endpoint of an API server, for tests: commands run on this machine, spoken to by real WebSockets of v4 or v5.

A cluster speaks one protocol, and speaks it well. Here a test chooses the protocol, and may put its own bytes in place of
what a server would say. The opening handshake and what the client sends are read by another library than the client's.
"""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong, Request

from g3zkp_maint.platforms.kubernetes_client import Access, KubernetesClient
from g3zkp_maint.platforms.kubernetes_exec import Opener
from g3zkp_maint.platforms.kubernetes_handshake import open_channels
from g3zkp_maint.platforms.kubernetes_socket import ChannelSocket

STDIN, STDOUT, STDERR, STATUS, END_OF_CHANNEL = 0, 1, 2, 3, 255
SUCCESS = {"metadata": {}, "status": "Success"}
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


@dataclass
class ExecPeer:
    """One client, of the server's side. `argv` is the command that it asks for."""

    sock: socket.socket
    argv: list[str] = field(default_factory=list)
    has_input: bool = False
    protocol: str = ""
    pongs: int = 0
    _connection: WSConnection = field(default_factory=lambda: WSConnection(ConnectionType.SERVER))
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, protocols: Sequence[str]) -> None:
        """Answers the opening handshake, with the first of `protocols` that the client offers."""
        (request,) = self._events()
        assert isinstance(request, Request)  # noqa: S101  a test's
        query = parse_qs(urlsplit(request.target).query)
        self.argv, self.has_input = query["command"], "stdin" in query
        self.protocol = next((one for one in protocols if one in request.subprotocols), "")
        self._send(AcceptConnection(subprotocol=self.protocol or None))

    def received(self) -> Iterator[tuple[int, bytes]]:
        """What the client sends, as (channel, bytes), until it closes the connection; pings are answered."""
        channel: int | None = None
        while events := self._events():
            for event in events:
                if isinstance(event, BytesMessage):
                    content = bytes(event.data)
                    if channel is None and content:
                        channel, content = content[0], content[1:]
                    if channel is not None:
                        yield channel, content
                    channel = None if event.message_finished else channel
                elif isinstance(event, Ping):
                    self._send(event.response())
                elif isinstance(event, Pong):
                    self.pongs += 1
                elif isinstance(event, CloseConnection):
                    return

    def message(self, channel: int, content: bytes) -> None:
        self._send(BytesMessage(bytes((channel,)) + content))

    def status(self, document: Mapping[str, Any]) -> None:
        self.message(STATUS, json.dumps(document).encode())

    def raw(self, frames: bytes) -> None:
        """Sends these bytes, frames or not."""
        with self._sending:
            self.sock.sendall(frames)

    def close(self) -> None:
        """In good order, as far as the protocol goes."""
        self._send(CloseConnection(code=1000))

    def reset(self) -> None:
        """As a host does that has lost its memory of the connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _send(self, event: Event) -> None:
        with self._sending:
            self.sock.sendall(self._connection.send(event))

    def _events(self) -> list[Event]:
        """At least one, or none at the end of the connection."""
        while True:
            try:
                data = self.sock.recv(_RECEIVED)
            except OSError:
                data = b""
            if not data:
                return []
            self._connection.receive_data(data)
            if events := list(self._connection.events()):
                return events


Behaviour = Callable[[ExecPeer], None]


def run_command(peer: ExecPeer) -> None:
    """Does what a node does: runs the command, in a session of its own; its status comes last."""
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
        peer.status(status_of(code if code >= 0 else 128 - code))
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


class ExecServer(socketserver.ThreadingTCPServer):
    """`behaviour` is asked anew for each connection; `peers` are those that came, in order. Where `answer` is set, that is
    all that a client hears."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behaviour: Behaviour, protocols: Sequence[str]) -> None:
        self.behaviour = behaviour
        self.protocols = protocols
        self.answer: bytes | None = None
        self.peers: list[ExecPeer] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.BaseRequestHandler):
    server: ExecServer

    def handle(self) -> None:
        peer = ExecPeer(self.request)
        if self.server.answer is not None:
            self.request.recv(_RECEIVED)
            self.request.sendall(self.server.answer)
            return
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

    def opened(command: Sequence[str], has_input: bool) -> ChannelSocket:
        query = [("stdin", "true")] if has_input else []
        path = client.path("pods", "a-pod", "exec")
        return open_channels(client, path, [*query, *(("command", one) for one in command)])

    return opened
