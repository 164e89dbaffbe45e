"""Several channels over one connection, read by one thread, written by another; each protocol frames them in its own way.

The official client's own reader (`WSClient`) joins each frame to a growing text and needs more than ten minutes for a
gigabyte; here payloads leave as they come, in bounded memory.

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
from abc import ABC, abstractmethod
from collections.abc import Iterator

#: As the protocols of Kubernetes number them.
STDIN, STDOUT, STDERR, STATUS = 0, 1, 2, 3

_BUFFER_BYTES = 1 << 20
_SENT_BYTES = 64 << 10
#: How often a sender that waits looks whether the connection has ended; an end wakes it anyway.
_LOOK_SECONDS = 20.0
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Message = tuple[int, bytes]


class ConnectionEnded(Exception):
    """Raised when something is sent on a connection that has ended."""


class Channels(ABC):
    """`sock` is connected, and both sides have agreed on the protocol."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._ended = threading.Event()
        self._calling = threading.Lock()
        self._receiving = threading.Lock()
        self._sending = threading.Lock()
        self._unsent = memoryview(b"")
        self._controls: dict[int, bytes] = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self._held = 0
        self._left = 0
        self._channel: int | None = None

    # -- what a protocol is --------------------------------------------------------------------------------------------

    @abstractmethod
    def _take_header(self, view: memoryview) -> int:
        """Reads a frame's header, and all of a frame that is no payload; the bytes taken, 0 when there are too few yet.

        Sets `_left` to the bytes of payload that follow and `_channel` to the channel that they are of, or to None where
        their first byte names it. Ends the connection where what comes cannot be told apart any more."""

    @abstractmethod
    def _framed(self, channel: int, payload: memoryview) -> bytes:
        """At most 64 KiB, as they go over on `channel`."""

    @abstractmethod
    def end(self, channel: int) -> None:
        """Tells the other side that nothing more comes on `channel`, where the protocol has words for that."""

    @abstractmethod
    def ping(self) -> None:
        """Load balancers cut connections on which nothing is heard for a while: this is heard. Never waits."""

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

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, channel: int, content: bytes) -> None:
        """Sends it on `channel`, waiting while the other side does not take it. Raises ConnectionEnded."""
        view = memoryview(content)
        for start in range(0, len(view), _SENT_BYTES):
            self._send(self._framed(channel, view[start : start + _SENT_BYTES]))

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._finish()
            self._unsent = memoryview(frame)
            self._finish()

    def _control(self, kind: int, frame: bytes) -> None:
        """Sends it before any further payload, without waiting; of those of a kind that could not go at once the last."""
        self._controls[kind] = frame
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
        if not self._controls:
            return False
        # Only this takes from it, so there is one.
        self._unsent = memoryview(self._controls.popitem()[1])
        return True

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
