"""A client of the exec endpoint of the tests, of the server's side.

What a client sends over a WebSocket is read by another library than the client's; for SPDY there is none.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Ping, Pong, Request

STDIN, STDOUT, STDERR, STATUS, END_OF_CHANNEL = 0, 1, 2, 3, 255
SUCCESS = {"metadata": {}, "status": "Success"}
#: What the shell around a command writes last, where that has succeeded and its mark is MARK.
MARK = "its-mark-in-tests"
ENDING = b"\xc1" + MARK.encode() + b" 0 all\n"
_RECEIVED = 256 << 10


class ExecPeer(ABC):
    """One client. `argv` is the command that it asks for, `protocol` what both have agreed on."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.argv: list[str] = []
        self.has_input = False
        self.protocol = ""
        self.pongs = 0
        self._sending = threading.Lock()

    @abstractmethod
    def accept(self, protocols: Sequence[str]) -> None:
        """Answers the opening handshake, with the first of `protocols` that the client offers."""

    @abstractmethod
    def received(self) -> Iterator[tuple[int, bytes]]:
        """What the client sends, as (channel, bytes), until it closes the connection; pings are answered. The end of a
        channel comes on END_OF_CHANNEL."""

    @abstractmethod
    def message(self, channel: int, content: bytes) -> None:
        """Sends it on a channel."""

    @abstractmethod
    def close(self) -> None:
        """In good order, as far as the protocol goes."""

    def status(self, document: Mapping[str, Any]) -> None:
        self.message(STATUS, json.dumps(document).encode())

    def raw(self, frames: bytes) -> None:
        """Sends these bytes, frames or not."""
        with self._sending:
            self.sock.sendall(frames)

    def reset(self) -> None:
        """As a host does that has lost its memory of the connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _ask(self, target: str) -> None:
        """Takes the command from the address that is asked for."""
        query = parse_qs(urlsplit(target).query)
        self.argv, self.has_input = query["command"], "stdin" in query


class WebSocketPeer(ExecPeer):
    """See ExecPeer."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._connection = WSConnection(ConnectionType.SERVER)

    def accept(self, protocols: Sequence[str]) -> None:
        """See ExecPeer."""
        (request,) = self._events()
        assert isinstance(request, Request)  # noqa: S101  a test's
        self._ask(request.target)
        self.protocol = next((one for one in protocols if one in request.subprotocols), "")
        self._send(AcceptConnection(subprotocol=self.protocol or None))

    def received(self) -> Iterator[tuple[int, bytes]]:
        """See ExecPeer."""
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
        """See ExecPeer."""
        self._send(BytesMessage(bytes((channel,)) + content))

    def close(self) -> None:
        """See ExecPeer."""
        self._send(CloseConnection(code=1000))

    def _send(self, event: Event) -> None:
        self.raw(self._connection.send(event))

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
