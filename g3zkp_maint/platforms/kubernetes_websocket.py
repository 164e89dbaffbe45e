"""The channels of a command over a WebSocket.

Frames are those of RFC 6455, section 5.2 (https://www.rfc-editor.org/rfc/rfc6455#section-5.2); the first byte of a message
names its channel; protocol v5 adds channel 255, which ends another one.
"""

from __future__ import annotations

import socket

from g3zkp_maint.platforms.kubernetes_channels import Channels

_END_OF_CHANNEL = 255
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"

_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_CONTROLS = frozenset({_CLOSE, _PING, _PONG})
_FINAL, _RESERVED, _MASKED = 0x80, 0x70, 0x80
# A mask guards careless proxies against scripts of browsers (RFC 6455, section 10.3). This is none, and a mask of zeros
# leaves the payload as it is, which saves a pass over each byte.
_NO_MASK = bytes(4)
_LONGEST_CONTROL = 125


class WebSocketChannels(Channels):
    """The opening handshake is done, with the subprotocol `protocol`."""

    def __init__(self, sock: socket.socket, protocol: str) -> None:
        super().__init__(sock)
        self._protocol = protocol
        self._is_within = False

    def _take_header(self, view: memoryview) -> int:
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
            self._control(_CLOSE, _frame(_CLOSE, payload))
            self._ended.set()
        elif opcode == _PING:
            # Of several pings the last may be answered alone (section 5.5.3).
            self._control(_PONG, _frame(_PONG, payload))

    def _framed(self, channel: int, payload: memoryview) -> bytes:
        return _frame(_BINARY, bytes((channel,)) + payload)

    def end(self, channel: int) -> None:
        """See Channels. v5 has words for it, v4 has none."""
        if self._protocol == V5:
            self.send(_END_OF_CHANNEL, bytes((channel,)))

    def ping(self) -> None:
        """See Channels."""
        self._control(_PING, _frame(_PING, b""))


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        header = bytes((_FINAL | opcode, _MASKED | size))
    elif size < 1 << 16:
        header = bytes((_FINAL | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((_FINAL | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    return header + _NO_MASK + payload
