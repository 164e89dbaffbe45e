"""What comes over the SPDY connection of a command: whatever a server or a network does, a part is never taken for the whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest

from g3zkp_maint.errors import ExecFailed, StreamBroken
from g3zkp_maint.platforms.kubernetes_spdy import SPDY
from g3zkp_maint.platforms.kubernetes_websocket import V4
from g3zkp_maint.testing.exec_peer import STATUS, SUCCESS, ExecPeer
from g3zkp_maint.testing.exec_server import Behaviour, status_of
from g3zkp_maint.testing.spdy_peer import control, data

pytestmark = pytest.mark.integration

Serve = Callable[..., Any]
WHOLE = bytes(range(256)) * 5
SUCCEEDED = json.dumps(SUCCESS).encode()
# As the client numbers its streams where the command has no input.
ERROR, OUT, ERR = 1, 3, 5
FINAL = 1
SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 2, 3, 4, 6, 7, 8, 9


def word(number: int) -> bytes:
    return number.to_bytes(4, "big")


ENDED = control(GOAWAY, word(ERR) + word(0))
# As spdystream speaks, with what it could say besides: replies, empty frames, pings, the status in two frames.
CONVERSATION = [
    *(control(SYN_REPLY, word(stream) + b"\x00\x00packed") for stream in (ERROR, OUT, ERR)),
    control(SETTINGS, word(0)),
    data(OUT, b""),
    data(OUT, WHOLE[:100]),
    control(PING, word(2)),
    control(PING, word(1)),
    control(WINDOW_UPDATE, word(OUT) + word(1000)),
    data(OUT, WHOLE[100:]),
    control(HEADERS, word(OUT) + b"packed"),
    data(ERR, b"a word\n"),
    data(ERR, b"", FINAL),
    data(ERROR, SUCCEEDED[:10]),
    data(ERROR, SUCCEEDED[10:]),
    control(RST_STREAM, word(ERROR) + word(5)),
    data(OUT, b"", FINAL),
    ENDED,
]


def says(frames: bytes, *, reset: bool = False) -> Behaviour:
    """A server that sends these bytes and hangs up."""

    def behave(peer: ExecPeer) -> None:
        peer.raw(frames)
        if reset:
            peer.reset()

    return behave


def spoken(serve: Serve, behaviour: Behaviour) -> Any:
    return serve(behaviour, (SPDY, V4))


def test_an_older_server_is_spoken_to_by_spdy(serve: Serve) -> None:
    site = serve(protocols=(SPDY, V4))
    assert site.exec("echo", "here").read_all() == b"here\n"
    assert [peer.protocol for peer in site.server.peers] == [SPDY]


def test_a_websocket_is_taken_where_no_spdy_is_let_through(serve: Serve) -> None:
    site = serve(protocols=(V4,))
    assert site.exec("echo", "here").read_all() == b"here\n"
    assert [peer.protocol for peer in site.server.peers] == [V4]


def test_a_conversation_of_every_kind_of_frame_is_read_whole(serve: Serve) -> None:
    assert spoken(serve, says(b"".join(CONVERSATION))).exec("tar").read_all() == WHOLE


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
def test_a_conversation_cut_at_any_byte_is_whole_or_an_error(serve: Serve, reset: bool) -> None:
    sent = b"".join(CONVERSATION)
    begins = list(accumulate(map(len, CONVERSATION)))
    with_status = begins[-4]
    cuts = sorted({at for end in [0, *begins] for at in range(end - 8, end + 12) if 0 <= at < len(sent)})
    site = spoken(serve, lambda peer: None)
    for cut in cuts:
        site.server.behaviour = says(sent[:cut], reset=reset)
        seen: list[bytes] = []
        try:
            seen.extend(site.exec("tar"))
        except StreamBroken:
            assert reset or cut < with_status
            continue
        assert cut >= with_status
        assert b"".join(seen) == WHOLE


FAULTY = {
    "an end without a status": ENDED,
    "a status that is no JSON": data(ERROR, b"Success") + ENDED,
    "two statuses": data(ERROR, SUCCEEDED) * 2 + ENDED,
    "a success on another stream": data(ERR, SUCCEEDED) + ENDED,
    "a status on a stream that nobody opened": data(9, b"x") + data(ERROR, SUCCEEDED) + ENDED,
    "a status after the end": ENDED + data(ERROR, SUCCEEDED),
    "a frame longer than what comes": data(OUT, WHOLE) + word(OUT) + b"\x00\xff\xff\xffx",
    "a control frame of another version": control(PING, word(2), version=2) + data(ERROR, SUCCEEDED) + ENDED,
    "a control frame that is too long": control(SETTINGS, bytes(65 << 10)) + data(ERROR, SUCCEEDED) + ENDED,
    "all streams refused": b"".join(control(RST_STREAM, word(stream) + word(3)) for stream in (ERROR, OUT, ERR)),
    "another answer of HTTP": b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
}


@pytest.mark.parametrize("frames", FAULTY.values(), ids=FAULTY)
def test_what_no_server_says_is_an_error(serve: Serve, frames: bytes) -> None:
    with pytest.raises(StreamBroken, match="not whole"):
        spoken(serve, says(data(OUT, b"part") + frames)).exec("tar").read_all()


def test_a_command_that_fails_after_its_last_byte_is_an_error(serve: Serve) -> None:
    failed = data(ERROR, json.dumps(status_of(3)).encode())
    with pytest.raises(ExecFailed, match="exit code 3"):
        spoken(serve, says(data(OUT, WHOLE) + failed + ENDED)).exec("tar").read_all()


def test_a_ping_is_answered_while_input_is_not_taken(serve: Serve) -> None:
    answered = threading.Event()

    def behave(peer: ExecPeer) -> None:
        peer.raw(control(PING, word(2)))
        for _ in peer.received():
            if peer.pongs:
                answered.set()
                return

    stream = spoken(serve, behave).exec("cat", stdin=[bytes(1 << 20)] * 64)
    with pytest.raises(StreamBroken):
        stream.read_all()
    assert answered.wait(5)


def test_a_command_that_is_silent_is_pinged_and_asked_after(serve: Serve) -> None:
    pinged = threading.Event()

    def behave(peer: ExecPeer) -> None:
        if "/proc/" in peer.argv[2]:
            peer.status(status_of(1))
            peer.close()
            return
        peer.raw(data(ERR, f"{peer.argv[4]} 4711\n".encode()))
        for _ in peer.received():
            pass
        if peer.pongs:
            pinged.set()

    with pytest.raises(StreamBroken, match="not whole"):
        spoken(serve, behave).exec("tar").read_all()
    assert pinged.wait(5)


def test_a_frame_of_16_mb_is_handed_over_in_pieces(serve: Serve) -> None:
    size = (16 << 20) - 1
    frames = word(OUT) + size.to_bytes(4, "big") + bytes(size)
    sizes = [len(piece) for piece in spoken(serve, says(frames + data(ERROR, SUCCEEDED) + ENDED)).exec("tar")]
    assert sum(sizes) == size
    assert max(sizes) <= 1 << 20


def test_streams_are_opened_by_the_names_that_kubernetes_gives_them(serve: Serve) -> None:
    site = spoken(serve, says(data(ERROR, SUCCEEDED) + ENDED))
    site.exec("true").read_all()
    (peer,) = site.server.peers
    assert peer.streams[STATUS] == ERROR
    assert set(peer.streams.values()) == {ERROR, OUT, ERR}
