"""The channels of a command over SPDY/3.1: a stream each.

What servers before Kubernetes 1.30 speak with kubectl. They have WebSockets as well, but take the mask off each byte in one
thread, which halves what goes into a pod, and there a client cannot end stdin. Frames are those of the draft, section 2.2
(https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/).

Left out is what the one other side there is (https://github.com/moby/spdystream) has not: flow control. The headers that
it answers with say nothing, so they are not read.
"""

from __future__ import annotations

import socket
import struct
import zlib

from g3zkp_maint.platforms.kubernetes_channels import STATUS, STDERR, STDIN, STDOUT, Channels

#: What both sides agree on by HTTP: the protocol, and how a command is spoken of in it.
SPDY, SPDY_STREAMS = "SPDY/3.1", "v4.channel.k8s.io"

_NAMES = {STATUS: b"error", STDIN: b"stdin", STDOUT: b"stdout", STDERR: b"stderr"}
_CONTROL_OF_3, _CONTROL = 0x8003, 0x8000_0000
# Streams may go on after a GOAWAY, says the draft; of spdystream it is the last word.
_SYN_STREAM, _RST_STREAM, _PING, _GOAWAY = 1, 3, 6, 7
_FINAL = 0x01
_WORDS, _LENGTH = struct.Struct(">II"), 0xFF_FFFF
_HEADER = _WORDS.size
_LONGEST_CONTROL = 64 << 10
_PING_BYTES = 4
# A client's own numbers are odd, those of pings too.
_OUR_PING = 1


class SpdyChannels(Channels):
    """The server has switched to SPDY on `sock`. The streams that it waits for are opened here, of all channels but stdin,
    and of that where the command has input. Raises OSError."""

    def __init__(self, sock: socket.socket, *, has_input: bool) -> None:
        opened = [STATUS, *([STDIN] if has_input else []), STDOUT, STDERR]
        self._streams = {channel: 2 * number + 1 for number, channel in enumerate(opened)}
        self._channels = {stream: channel for channel, stream in self._streams.items() if channel != STDIN}
        sock.sendall(_opening(self._streams))
        super().__init__(sock)

    def _take_header(self, view: memoryview) -> int:
        if len(view) < _HEADER:
            return 0
        first, length = _WORDS.unpack_from(view)
        length &= _LENGTH
        if first & _CONTROL:
            return self._take_control_frame(view, first, length)
        if length == 0 and first in self._streams.values():
            return _HEADER
        if first not in self._channels:
            # No server does this: what follows cannot be told apart any more.
            self._ended.set()
            return len(view)
        self._channel, self._left = self._channels[first], length
        return _HEADER

    def _take_control_frame(self, view: memoryview, first: int, length: int) -> int:
        version, kind = first >> 16, first & 0xFFFF
        if version != _CONTROL_OF_3 or length > _LONGEST_CONTROL:
            self._ended.set()
            return len(view)
        if len(view) < _HEADER + length:
            return 0
        if kind == _GOAWAY or (kind == _RST_STREAM and self._is_cut(view[_HEADER : _HEADER + length])):
            self._ended.set()
        elif kind == _PING and length == _PING_BYTES and not view[_HEADER + length - 1] & 1:
            self._control(_PING, bytes(view[: _HEADER + length]))
        return _HEADER + length

    def _is_cut(self, reset: memoryview) -> bool:
        """Whether one of the streams that are read will not be whole. Of all that are open the server says so once more after
        the status, and nothing but that."""
        return int.from_bytes(reset[:4], "big") & ~_CONTROL in self._channels

    def _framed(self, channel: int, payload: memoryview) -> bytes:
        return _data(self._streams[channel], payload)

    def end(self, channel: int) -> None:
        """See Channels."""
        self._send(_data(self._streams[channel], b"", _FINAL))

    def ping(self) -> None:
        """See Channels."""
        self._control(_OUR_PING, _control_frame(_PING, _OUR_PING.to_bytes(_PING_BYTES, "big")))


def _opening(streams: dict[int, int]) -> bytes:
    # One stream of zlib goes through the headers of all. The draft's dictionary need not be used: zlib tells whether it is.
    packer = zlib.compressobj()
    return b"".join(_syn_stream(stream, _NAMES[channel], packer) for channel, stream in streams.items())


def _syn_stream(stream: int, name: bytes, packer: zlib._Compress) -> bytes:
    headers = (1).to_bytes(4, "big") + _counted(b"streamtype") + _counted(name)
    packed = packer.compress(headers) + packer.flush(zlib.Z_SYNC_FLUSH)
    # Of no other stream, of the highest priority, without a credential.
    return _control_frame(_SYN_STREAM, stream.to_bytes(4, "big") + bytes(6) + packed)


def _counted(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def _control_frame(kind: int, content: bytes) -> bytes:
    return _WORDS.pack(_CONTROL_OF_3 << 16 | kind, len(content)) + content


def _data(stream: int, payload: bytes | memoryview, flags: int = 0) -> bytes:
    return _WORDS.pack(stream, flags << 24 | len(payload)) + payload
