"""What comes over the SPDY connection of a command: whatever a server or a network does, a part is never taken for the whole."""

from __future__ import annotations

import json
import threading
from queue import SimpleQueue
from typing import Any

import pytest
from exec_conversations import SUCCEEDED, WHOLE, Serve, check_cut_at_any_byte, cut_up, says, says_in_segments
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g3zkp_maint.errors import ExecFailed, PlatformError, PlatformUnavailable, StreamBroken
from g3zkp_maint.platforms.kubernetes_spdy import SPDY
from g3zkp_maint.platforms.kubernetes_websocket import V4, V5
from g3zkp_maint.testing.exec_peer import ENDING, STATUS, ExecPeer
from g3zkp_maint.testing.exec_server import Behaviour, run_command, status_of
from g3zkp_maint.testing.spdy_peer import control, data

pytestmark = pytest.mark.integration

# As the client numbers its streams where the command has no input.
ERROR, OUT, ERR = 1, 3, 5
# And with input.
STDIN_STREAM = 3
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
    data(OUT, ENDING),
    control(HEADERS, word(OUT) + b"packed"),
    data(ERR, b"a word\n"),
    data(ERR, b"", FINAL),
    data(ERROR, SUCCEEDED[:10]),
    data(ERROR, SUCCEEDED[10:]),
    control(RST_STREAM, word(ERROR) + word(5)),
    data(OUT, b"", FINAL),
    ENDED,
]


def spoken(serve: Serve, behaviour: Behaviour) -> Any:
    return serve(behaviour, (SPDY, V4))


def check_spoken(site: Any, protocol: str) -> None:
    """A command goes well, by this protocol and at the first try."""
    assert site.exec("echo", "here").read_all() == b"here\n"
    assert [peer.protocol for peer in site.server.peers] == [protocol]


SPOKEN = {
    "of old": ((SPDY, V4), SPDY),
    "of now": ((SPDY, V5), V5),
    "of old, and no SPDY is let through": ((V4,), V4),
}


@pytest.mark.parametrize(("protocols", "spoken"), SPOKEN.values(), ids=SPOKEN)
def test_a_server_is_spoken_to_by_the_best_protocol_that_it_has(
    serve: Serve, protocols: tuple[str, ...], spoken: str
) -> None:
    site = serve(protocols=protocols)
    check_spoken(site, spoken)


def test_spdy_is_taken_where_no_websocket_is_let_through(serve: Serve) -> None:
    site = serve(protocols=(SPDY, V5))
    site.server.takes_websockets = False
    check_spoken(site, SPDY)


def test_where_neither_is_let_through_it_is_said(serve: Serve) -> None:
    site = serve(protocols=(V5,))
    site.server.takes_websockets = False
    with pytest.raises(PlatformError, match="something in between does not let them through"):
        site.exec("echo", "here")


SWITCHES = {
    "to another protocol": b"Upgrade: h2c\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n",
    "to streams without a status": b"Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: channel.k8s.io\r\n",
    "without a word on the streams": b"Upgrade: SPDY/3.1\r\n",
}


@pytest.mark.parametrize("headers", SWITCHES.values(), ids=SWITCHES)
def test_a_switch_to_what_was_not_asked_for_is_none(serve: Serve, headers: bytes) -> None:
    site = serve(protocols=(SPDY, V4))
    site.server.answer_to_spdy = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n%b\r\n" % headers
    check_spoken(site, V4)


VERSIONS = {
    "denied": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "no JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "no object": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "no version": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("answer", VERSIONS.values(), ids=VERSIONS)
def test_a_server_that_does_not_tell_its_version_is_taken_for_a_current_one(serve: Serve, answer: bytes) -> None:
    site = serve(protocols=(SPDY, V4))
    site.server.answer_to_version = answer
    check_spoken(site, V4)


def test_a_server_that_is_not_there_yet_is_waited_for_by_the_caller(serve: Serve) -> None:
    site = serve(protocols=(SPDY, V4))
    site.server.answer_to_version = b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater"
    with pytest.raises(PlatformUnavailable, match="later"):
        site.exec("tar")


def test_a_conversation_of_every_kind_of_frame_is_read_whole(serve: Serve) -> None:
    pongs: SimpleQueue[int] = SimpleQueue()

    def behave(peer: ExecPeer) -> None:
        peer.raw(b"".join(CONVERSATION))
        list(peer.received())
        pongs.put(peer.pongs)

    assert spoken(serve, behave).exec("tar").read_all() == WHOLE
    # The one of the server's own number; an answer to ours is not answered.
    assert pongs.get(timeout=5) == 1


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
def test_a_conversation_cut_at_any_byte_is_whole_or_an_error(serve: Serve, reset: bool) -> None:
    check_cut_at_any_byte(spoken(serve, says(b"")), CONVERSATION, after_status=3, reset=reset)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_output_is_the_same_however_it_is_cut_into_frames_and_segments(serve: Serve, drawn: st.DataObject) -> None:
    stdout = drawn.draw(st.binary(max_size=3000))
    frames = [data(OUT, one) for one in cut_up(drawn, stdout + ENDING)]
    frames += [data(ERROR, one) for one in cut_up(drawn, SUCCEEDED)]
    pings = [control(PING, word(2)) if drawn.draw(st.booleans()) else b"" for _ in frames]
    sent = b"".join(map(bytes.__add__, pings, frames)) + ENDED
    assert spoken(serve, says_in_segments(cut_up(drawn, sent))).exec("tar").read_all() == stdout


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
    "an output that is reset": control(RST_STREAM, word(OUT) + word(6)) + data(ERROR, SUCCEEDED) + ENDED,
    "another answer of HTTP": b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
}


@pytest.mark.parametrize("frames", FAULTY.values(), ids=FAULTY)
def test_what_no_server_says_is_an_error(serve: Serve, frames: bytes) -> None:
    with pytest.raises(StreamBroken, match="not whole"):
        spoken(serve, says(data(OUT, b"part" + ENDING) + frames)).exec("tar").read_all()


def test_streams_that_are_refused_are_not_waited_for(serve: Serve) -> None:
    def behave(peer: ExecPeer) -> None:
        peer.raw(b"".join(control(RST_STREAM, word(stream) + word(3)) for stream in (ERROR, OUT, ERR)))
        list(peer.received())

    with pytest.raises(StreamBroken, match="not whole"):
        spoken(serve, behave).exec("tar").read_all()


def test_a_server_may_end_its_half_of_the_inputs_stream(serve: Serve) -> None:
    def behave(peer: ExecPeer) -> None:
        peer.raw(data(STDIN_STREAM, b"", FINAL))
        run_command(peer)

    assert spoken(serve, behave).exec("cat", stdin=[WHOLE]).read_all() == WHOLE


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
        list(peer.received())
        if peer.pongs == 1:
            pinged.set()

    with pytest.raises(StreamBroken, match="not whole"):
        spoken(serve, behave).exec("tar").read_all()
    assert pinged.wait(5)


def test_a_frame_of_16_mb_is_handed_over_in_pieces(serve: Serve) -> None:
    size = (16 << 20) - 1
    frames = word(OUT) + size.to_bytes(4, "big") + bytes(size) + data(OUT, ENDING) + data(ERROR, SUCCEEDED) + ENDED
    sizes = [len(piece) for piece in spoken(serve, says(frames)).exec("tar")]
    assert sum(sizes) == size
    assert max(sizes) <= 1 << 20


def test_streams_are_opened_by_the_names_that_kubernetes_gives_them(serve: Serve) -> None:
    site = spoken(serve, says(data(OUT, ENDING) + data(ERROR, SUCCEEDED) + ENDED))
    site.exec("true").read_all()
    (peer,) = site.server.peers
    assert peer.streams[STATUS] == ERROR
    assert set(peer.streams.values()) == {ERROR, OUT, ERR}
