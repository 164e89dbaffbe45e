"""The WebSocket of an exec: messages of several channels over one socket, read by one thread, written by another.

The client's own reader (`WSClient`) joins each frame to a growing text and needs more than ten minutes for a gigabyte;
here payloads leave as they come, in bounded memory. Frames are those of RFC 6455, section 5.2
(https://www.rfc-editor.org/rfc/rfc6455#section-5.2); the first byte of a message names its channel; protocol v5 adds
channel 255, which ends another one.

OpenSSL allows no two calls on one connection at a time. So the socket never blocks: each call is made under a lock, and
waiting is done outside of it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator

STDIN, STDOUT, STDERR, STATUS = 0, 1, 2, 3
_END_OF_CHANNEL = 255
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"

_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_CONTROLS = (_CLOSE, _PONG, _PING)
_FINAL, _RESERVED, _MASKED = 0x80, 0x70, 0x80
# A mask guards careless proxies against scripts of browsers (RFC 6455, section 10.3). This is none, and a mask of zeros
# leaves the payload as it is, which saves a pass over each byte.
_NO_MASK = bytes(4)
_BUFFER_BYTES = 1 << 20
_SENT_BYTES = 64 << 10
#: How often a sender that waits looks whether the connection has ended; an end wakes it anyway.
_LOOK_SECONDS = 20.0
_LONGEST_CONTROL = 125
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Message = tuple[int, bytes]


class ConnectionEnded(Exception):
    """Raised when something is sent on a connection that has ended."""


class ChannelSocket:
    """`sock` is connected, and the opening handshake is done with the subprotocol `protocol`."""

    def __init__(self, sock: socket.socket, protocol: str) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._protocol = protocol
        self._ended = threading.Event()
        self._calling = threading.Lock()
        self._receiving = threading.Lock()
        self._sending = threading.Lock()
        self._unsent = memoryview(b"")
        self._controls: dict[int, bytes] = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self._held = 0
        self._left = 0
        self._is_within = False
        self._channel: int | None = None

    # -- receiving -----------------------------------------------------------------------------------------------------

    @property
    def is_ended(self) -> bool:
        return self._ended.is_set()

    def receive(self, timeout_seconds: float) -> list[Message] | None:
        """What has come since the last call, as (channel, bytes), in its order, at most 1 MiB; waits for some. None when
        the connection has ended, or nothing came in time."""
        until = time.monotonic() + timeout_seconds
        with self._receiving:
            while self._fill(until):
                messages = list(self._messages())
                if messages or time.monotonic() >= until:
                    return messages or None
        return None

    def _fill(self, until: float) -> bool:
        """Reads what there is, at least one byte; False when the connection has ended or the time is up."""
        before = self._held
        while self._held < _BUFFER_BYTES and not self._ended.is_set():
            count = self._read_some()
            if count == 0:
                break
            if count is not None:
                self._held += count
            elif self._held > before:
                return True
            # What is to be sent waits here, too, and never the other way round: who does not read might not be read.
            elif not self._wait(select.POLLIN | self._send_controls(), until - time.monotonic()):
                return False
        if self._held == before:
            self._ended.set()
        return self._held > before

    def _read_some(self) -> int | None:
        """How many bytes came; 0 at the end of the connection, however it ended; None when there are none yet."""
        try:
            with self._calling:
                return self._sock.recv_into(memoryview(self._buffer)[self._held :])
        except _NOT_NOW:
            return None
        except OSError:
            return 0

    def _messages(self) -> Iterator[Message]:
        """Takes all from the buffer but the beginning of a header that is not whole."""
        view, at = memoryview(self._buffer)[: self._held], 0
        while at < self._held and not self._ended.is_set():
            if self._left == 0:
                taken = self._take_header(view[at:])
                if taken == 0:
                    break
                at += taken
            elif self._channel is None:
                self._channel, at, self._left = view[at], at + 1, self._left - 1
            else:
                size = min(self._left, self._held - at)
                yield self._channel, bytes(view[at : at + size])
                at, self._left = at + size, self._left - size
        rest = bytes(view[at:])
        self._buffer[: len(rest)] = rest
        self._held = len(rest)

    def _take_header(self, view: memoryview) -> int:
        """Reads a frame's header, and all of a control frame; the bytes taken, 0 when there are too few yet."""
        if len(view) < 2:
            return 0
        opcode, length = view[0] & 0x0F, view[1]
        if not self._is_valid(view[0], length):
            # No server does this: what follows cannot be told apart any more.
            self._ended.set()
            return len(view)
        size = {126: 4, 127: 10}.get(length, 2)
        is_control = opcode in _CONTROLS
        if len(view) < size + (length if is_control else 0):
            return 0
        if is_control:
            self._answer(opcode, bytes(view[size : size + length]))
            return size + length
        if opcode == _BINARY:
            self._channel = None
        self._is_within = not view[0] & _FINAL
        self._left = length if size == 2 else int.from_bytes(view[2:size], "big")
        return size

    def _is_valid(self, first: int, length: int) -> bool:
        """Whether such a frame may come here, by its two first bytes."""
        if first & _RESERVED or length & _MASKED:
            return False
        opcode = first & 0x0F
        if opcode in _CONTROLS:
            return bool(first & _FINAL) and length <= _LONGEST_CONTROL
        return opcode == (_CONTINUATION if self._is_within else _BINARY)

    def _answer(self, opcode: int, payload: bytes) -> None:
        if opcode == _CLOSE:
            self._control(_CLOSE, payload)
            self._ended.set()
        elif opcode == _PING:
            self._control(_PONG, payload)

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, channel: int, content: bytes) -> None:
        """Sends it on `channel`, waiting while the other side does not take it. Raises ConnectionEnded."""
        view = memoryview(content)
        for start in range(0, len(view), _SENT_BYTES):
            payload = bytes((channel,)) + view[start : start + _SENT_BYTES]
            with self._sending:
                self._finish()
                self._unsent = memoryview(_frame(_BINARY, payload))
                self._finish()

    def end(self, channel: int) -> None:
        """Tells the other side that nothing more comes on `channel`, where the protocol has words for that (v5)."""
        if self._protocol == V5:
            self.send(_END_OF_CHANNEL, bytes((channel,)))

    def ping(self) -> None:
        """Load balancers cut connections on which nothing is heard for a while: this is heard."""
        self._control(_PING)

    def _control(self, opcode: int, payload: bytes = b"") -> None:
        """Never waits; of pings that could not be answered at once the last one is (RFC 6455, section 5.5.3)."""
        self._controls[opcode] = _frame(opcode, payload)
        self._send_controls()

    def _send_controls(self) -> int:
        """Sends what can be sent at once; the event that the rest waits for, or 0. While another thread sends, that one
        sends it after its frame."""
        if not self._sending.acquire(blocking=False):
            return 0
        try:
            return self._flush()
        except ConnectionEnded:
            return 0
        finally:
            self._sending.release()

    def _finish(self) -> None:
        """Sends all that is to be sent, waiting for it. Under `_sending`."""
        while event := self._flush():
            self._wait(event, _LOOK_SECONDS)

    def _flush(self) -> int:
        """Sends what can be sent at once; the event that the rest waits for, or 0. Under `_sending`."""
        while self._unsent or self._take_control():
            if self._ended.is_set():
                raise ConnectionEnded
            try:
                # A call that could not be finished is repeated with the same bytes, as OpenSSL demands.
                with self._calling:
                    self._unsent = self._unsent[self._sock.send(self._unsent) :]
            except ssl.SSLWantReadError:
                return select.POLLIN
            except _NOT_NOW:
                return select.POLLOUT
            except OSError as error:
                raise ConnectionEnded from error
        return 0

    def _take_control(self) -> bool:
        """Makes a waiting control frame the next that is sent; False where there is none."""
        for opcode in _CONTROLS:
            if frame := self._controls.pop(opcode, None):
                self._unsent = memoryview(frame)
                return True
        return False

    # -- both ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the connection, and whatever waits on it in another thread."""
        self._ended.set()
        # Not SSLSocket.shutdown: that one turns TLS off, and a thread that still reads would take ciphertext for frames.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        with self._receiving, self._sending:
            self._sock.close()

    def _wait(self, event: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._sock, event)
        return bool(poll.poll(max(0.0, seconds) * 1000))


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        header = bytes((_FINAL | opcode, _MASKED | size))
    elif size < 1 << 16:
        header = bytes((_FINAL | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((_FINAL | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    return header + _NO_MASK + payload
