"""A client of the exec endpoint of the tests that speaks SPDY/3.1, of the server's side."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

from g3zkp_maint.testing.exec_peer import END_OF_CHANNEL, STATUS, STDERR, STDIN, STDOUT, ExecPeer

_CHANNELS = {b"error": STATUS, b"stdin": STDIN, b"stdout": STDOUT, b"stderr": STDERR}
_PING, _GOAWAY = 6, 7
# The first words of frames that clients send.
_OPENING, _PINGING = 0x8003_0001, 0x8003_0006
_FINAL = 1
_STREAMTYPE = b"\x00\x00\x00\x01\x00\x00\x00\x0astreamtype"
_ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\nX-Stream-Protocol-Version: %b\r\n\r\n"
)


def data(stream: int, content: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", stream, flags << 24 | len(content)) + content


def control(kind: int, content: bytes, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, len(content)) + content


class SpdyPeer(ExecPeer):
    """See ExecPeer. `streams` are the numbers that the client has given to channels."""

    streams: dict[int, int]

    def accept(self, protocols: Sequence[str]) -> None:
        """See ExecPeer. A command starts when the client has opened all of its streams."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._exactly(1)
        line, *fields = head.decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
        self._ask(line.split()[1])
        self.protocol = headers["upgrade"]
        if self.protocol not in protocols:
            raise ValueError(f"a test's client wants to speak {self.protocol}")
        self.raw(_ANSWER % (self.protocol.encode(), headers["x-stream-protocol-version"].encode()))
        unpacker = zlib.decompressobj()
        self.streams = dict(self._opened(unpacker) for _ in range(4 if self.has_input else 3))

    def _opened(self, unpacker: zlib._Decompress) -> tuple[int, int]:
        first, _, content = self._frame()
        if first != _OPENING:
            raise ValueError(f"a test's client opens no stream: {first:x}")
        # To no other stream, of the highest priority; one header, its name and its value each after their length.
        if content[4:10] != bytes(6):
            raise ValueError("a test's client opens a stream beside another")
        headers = unpacker.decompress(content[10:])
        return _CHANNELS[headers.removeprefix(_STREAMTYPE)[4:]], int.from_bytes(content[:4], "big")

    def received(self) -> Iterator[tuple[int, bytes]]:
        """See ExecPeer."""
        channels = {stream: channel for channel, stream in self.streams.items()}
        while True:
            try:
                first, flags, content = self._frame()
            except EOFError:
                return
            if first == _PINGING:
                self.pongs += 1
                if content[-1] & 1:
                    self.raw(control(_PING, content))
            elif content:
                yield channels[first], content
            if flags & _FINAL:
                yield END_OF_CHANNEL, bytes((channels[first],))

    def message(self, channel: int, content: bytes) -> None:
        """See ExecPeer."""
        self.raw(data(self.streams[channel], content))

    def close(self) -> None:
        """See ExecPeer."""
        self.raw(control(_GOAWAY, bytes(8)))

    def _frame(self) -> tuple[int, int, bytes]:
        """Its first word, flags, and content. Raises EOFError."""
        first, size = struct.unpack(">II", self._exactly(8))
        return first, size >> 24, self._exactly(size & 0xFF_FFFF)

    def _exactly(self, size: int) -> bytes:
        held = bytearray()
        while len(held) < size:
            try:
                piece = self.sock.recv(size - len(held))
            except OSError:
                piece = b""
            if not piece:
                raise EOFError
            held += piece
        return bytes(held)
