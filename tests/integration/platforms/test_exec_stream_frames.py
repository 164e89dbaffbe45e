"""What comes over the WebSocket of a command: whatever a server or a network does, a part is never taken for the whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from typing import Any

import pytest
from exec_conversations import SUCCEEDED, WHOLE, Serve, check_cut_at_any_byte, cut_up, says, says_in_segments
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from g3zkp_maint.errors import ExecFailed, PlatformError, PlatformUnavailable, StreamBroken
from g3zkp_maint.platforms.kubernetes_spdy import SPDY
from g3zkp_maint.platforms.kubernetes_websocket import V4, V5
from g3zkp_maint.testing.exec_peer import ENDING, STATUS, STDERR, STDOUT, SUCCESS, ExecPeer
from g3zkp_maint.testing.exec_server import Behaviour, run_command, status_of

pytestmark = pytest.mark.integration


def frame(opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0, mask: bytes = b"") -> bytes:
    """By hand: no library sends what is wrong."""
    size, masked = len(payload), 0x80 if mask else 0
    head = bytes(((0x80 if final else 0) | reserved | opcode,))
    if size < 126:
        head += bytes((masked | size,))
    elif size < 1 << 16:
        head += bytes((masked | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((masked | 127,)) + size.to_bytes(8, "big")
    return head + mask + payload


def message(channel: int, content: bytes) -> bytes:
    return frame(Opcode.BINARY, bytes((channel,)) + content)


CLOSED = frame(Opcode.CLOSE, b"\x03\xe8")
# Empty messages, a small and a middle frame, a fragmented one with a ping inside, stderr, the status in two messages.
CONVERSATION = [
    message(STDOUT, b""),
    message(STDERR, b""),
    message(STDOUT, WHOLE[:100]),
    message(STDOUT, WHOLE[100:1000]),
    frame(Opcode.BINARY, bytes((STDOUT,)) + WHOLE[1000:1100], final=False),
    frame(Opcode.PING, b"there?"),
    frame(Opcode.CONTINUATION, WHOLE[1100:]),
    message(STDOUT, ENDING),
    message(STDERR, b"a word\n"),
    message(STATUS, SUCCEEDED[:10]),
    message(STATUS, SUCCEEDED[10:]),
    CLOSED,
]


def test_a_conversation_of_every_kind_of_frame_is_read_whole(serve: Serve) -> None:
    assert serve(says(b"".join(CONVERSATION))).exec("tar").read_all() == WHOLE


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
def test_a_conversation_cut_at_any_byte_is_whole_or_an_error(serve: Serve, reset: bool) -> None:
    check_cut_at_any_byte(serve(), CONVERSATION, after_status=1, reset=reset)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_output_is_the_same_however_it_is_cut_into_messages_frames_and_segments(serve: Serve, data: Any) -> None:
    stdout = data.draw(st.binary(max_size=3000))
    sent, frames = bytearray(), FrameProtocol(client=False, extensions=[])
    pieces = [(STDOUT, one) for one in cut_up(data, stdout + ENDING)] + [
        (STATUS, one) for one in cut_up(data, SUCCEEDED)
    ]
    for channel, piece in pieces:
        parts = cut_up(data, bytes((channel,)) + piece)
        for number, part in enumerate(parts):
            if data.draw(st.booleans()):
                sent += frames.ping(data.draw(st.binary(max_size=125)))
            sent += frames.send_data(part, fin=number == len(parts) - 1)
    sent += frames.close(1000)
    assert serve(says_in_segments(cut_up(data, bytes(sent)))).exec("tar").read_all() == stdout


FAULTY = {
    "a close without a status": CLOSED,
    "a status that is no JSON": message(STATUS, b"Success") + CLOSED,
    "a status that is no object": message(STATUS, b'"Success"') + CLOSED,
    "two statuses": message(STATUS, SUCCEEDED) * 2 + CLOSED,
    "a success on another channel": message(9, SUCCEEDED) + CLOSED,
    "a status as text": frame(Opcode.TEXT, bytes((STATUS,)) + SUCCEEDED) + CLOSED,
    "a status in a masked frame": frame(Opcode.BINARY, bytes((STATUS,)) + SUCCEEDED, mask=bytes(4)),
    "a status in a compressed frame": frame(Opcode.BINARY, bytes((STATUS,)) + SUCCEEDED, reserved=0x40) + CLOSED,
    "a status in a frame of no known kind": frame(0x3, bytes((STATUS,)) + SUCCEEDED) + CLOSED,
    "a status that continues nothing": frame(Opcode.CONTINUATION, bytes((STATUS,)) + SUCCEEDED) + CLOSED,
    "a status inside of another message": frame(Opcode.BINARY, bytes((STDOUT,)) + b"x", final=False)
    + message(STATUS, SUCCEEDED)
    + CLOSED,
    "a status after the close": CLOSED + message(STATUS, SUCCEEDED),
    "a frame longer than what comes": message(STDOUT, WHOLE) + b"\x82\x7f" + (1 << 62).to_bytes(8, "big") + b"\x01x",
    "a control frame that is too long": frame(Opcode.PING, bytes(126)) + message(STATUS, SUCCEEDED) + CLOSED,
    "another answer of HTTP": b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
}


@pytest.mark.parametrize("frames", FAULTY.values(), ids=FAULTY)
def test_what_no_server_says_is_an_error(serve: Serve, frames: bytes) -> None:
    with pytest.raises(StreamBroken, match="not whole"):
        serve(says(message(STDOUT, b"part" + ENDING) + frames)).exec("tar").read_all()


def test_a_command_that_is_lost_after_its_last_byte_is_an_error(serve: Serve) -> None:
    lost = {"status": "Failure", "message": "error executing command: container not running", "code": 500}
    with pytest.raises(StreamBroken, match="container not running"):
        serve(says(message(STDOUT, WHOLE) + message(STATUS, json.dumps(lost).encode()))).exec("tar").read_all()


def test_a_command_that_fails_after_its_last_byte_is_an_error(serve: Serve) -> None:
    failed = message(STATUS, json.dumps(status_of(3)).encode())
    with pytest.raises(ExecFailed, match="exit code 3"):
        serve(says(message(STDOUT, WHOLE) + failed + CLOSED)).exec("tar").read_all()


def test_output_that_comes_after_the_status_is_part_of_the_whole(serve: Serve) -> None:
    frames = message(STDOUT, b"be") + message(STATUS, SUCCEEDED) + message(STDOUT, b"fore" + ENDING) + CLOSED
    assert serve(says(frames)).exec("tar").read_all() == b"before"


def test_a_server_that_does_not_end_the_connection_after_the_status_is_not_waited_for(serve: Serve) -> None:
    def behave(peer: ExecPeer) -> None:
        peer.raw(message(STDOUT, WHOLE + ENDING) + message(STATUS, SUCCEEDED))
        list(peer.received())

    assert serve(behave).exec("tar").read_all() == WHOLE


@pytest.mark.parametrize("every_seconds", [0.05, 0.0], ids=["some", "a flood"])
def test_a_command_that_is_gone_without_a_status_is_not_waited_for(serve: Serve, every_seconds: float) -> None:
    """Pings in between are no sign of life of the command."""
    with pytest.raises(StreamBroken, match="not whole"):
        serve(gone(every_seconds)).exec("tar").read_all()


def gone(every_seconds: float) -> Behaviour:
    """A server that sends pings and no more; a second command learns that the process of the first is not there."""

    def behave(peer: ExecPeer) -> None:
        if "/proc/" in peer.argv[2]:
            peer.status(status_of(1))
            peer.close()
            return
        peer.message(STDERR, f"{peer.argv[4]} 4711\n".encode())
        peer.message(STDOUT, b"part")
        over = threading.Event()
        threading.Thread(target=lambda: [*peer.received(), over.set()], daemon=True).start()
        while not over.wait(every_seconds):
            peer.raw(frame(Opcode.PING, b""))

    return behave


def test_a_command_that_is_dead_and_not_buried_is_gone(serve: Serve) -> None:
    """As where a runtime hangs over a killed command, in a container whose first process waits for no child."""
    graves: list[subprocess.Popen[bytes]] = []

    def behave(peer: ExecPeer) -> None:
        if "/proc/" in peer.argv[2]:
            run_command(peer)
            return
        process = subprocess.Popen(peer.argv, stderr=subprocess.PIPE, start_new_session=True)
        graves.append(process)
        assert process.stderr is not None
        peer.message(STDERR, process.stderr.readline())
        os.killpg(process.pid, signal.SIGKILL)
        list(peer.received())

    with pytest.raises(StreamBroken, match="not whole"):
        serve(behave).exec("sleep", "60").read_all()
    for grave in graves:
        grave.communicate()


def test_a_command_that_is_silent_and_lives_is_waited_for(serve: Serve) -> None:
    lives = threading.Event()

    def behave(peer: ExecPeer) -> None:
        if "/proc/" in peer.argv[2]:
            peer.status(SUCCESS)
            lives.set()
            return
        peer.message(STDERR, f"{peer.argv[4]} 4711\n".encode())
        lives.wait(30)
        peer.message(STDOUT, WHOLE + ENDING)
        peer.status(SUCCESS)

    assert serve(behave).exec("tar").read_all() == WHOLE
    assert lives.is_set()


def test_pings_that_cannot_be_answered_do_not_keep_output_from_being_read(serve: Serve) -> None:
    def behave(peer: ExecPeer) -> None:
        pings = frame(Opcode.PING, bytes(125)) * 1000
        for _ in range(120):  # more answers than the buffers of both sides hold, and none of them is read
            peer.raw(pings)
        peer.raw(message(STDOUT, WHOLE + ENDING) + message(STATUS, SUCCEEDED))
        list(peer.received())

    assert serve(behave).exec("tar").read_all() == WHOLE


def test_a_ping_is_answered_while_input_is_not_taken(serve: Serve) -> None:
    answered = threading.Event()

    def behave(peer: ExecPeer) -> None:
        peer.raw(frame(Opcode.PING, b"there?"))
        for _ in peer.received():
            if peer.pongs:
                answered.set()
                return

    stream = serve(behave).exec("cat", stdin=[bytes(1 << 20)] * 64)
    with pytest.raises(StreamBroken):
        stream.read_all()
    assert answered.wait(5)


def test_a_flood_of_stderr_is_kept_to_its_end_in_bounded_memory(serve: Serve) -> None:
    def behave(peer: ExecPeer) -> None:
        peer.message(STDERR, f"{peer.argv[4]} 4711\n".encode())
        for _ in range(300):
            peer.message(STDERR, b"x" * (64 << 10))
        peer.message(STDERR, b" and the reason")
        peer.status(status_of(3))

    with pytest.raises(ExecFailed) as caught:
        serve(behave).exec("tar").read_all()
    assert caught.value.stderr_tail.endswith("x and the reason")
    assert 60 << 10 < len(caught.value.stderr_tail) <= 64 << 10


def test_a_frame_of_100_mb_is_handed_over_in_pieces(serve: Serve) -> None:
    size = 100 << 20

    def behave(peer: ExecPeer) -> None:
        peer.raw(b"\x82\x7f" + (size + 1).to_bytes(8, "big") + bytes((STDOUT,)))
        for _ in range(100):
            peer.raw(bytes(1 << 20))
        peer.raw(message(STDOUT, ENDING) + message(STATUS, SUCCEEDED) + CLOSED)

    sizes = [len(piece) for piece in serve(behave).exec("tar")]
    assert sum(sizes) == size
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize("protocols", [("v3.channel.k8s.io",), ()], ids=["another", "none"])
def test_a_server_that_speaks_no_protocol_with_a_status_is_refused(serve: Serve, protocols: tuple[str, ...]) -> None:
    with pytest.raises(PlatformError, match=r"v4\.channel\.k8s\.io"):
        serve(says(message(STDOUT, b"part") + CLOSED), protocols).exec("tar")


ANSWERS = {
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/login\r\n\r\n", PlatformError, "Redirect"),
    "a page": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", PlatformError, "200"),
    "an overloaded server": (b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater", PlatformUnavailable, "later"),
    "nothing": (b"", PlatformUnavailable, "cannot be reached"),
    "half a head": (b"HTTP/1.1 101 Switching", PlatformUnavailable, "cannot be reached"),
}


@pytest.mark.parametrize("protocols", [(V5,), (SPDY, V4)], ids=["of now", "of old"])
@pytest.mark.parametrize(("answer", "error", "said"), ANSWERS.values(), ids=ANSWERS)
def test_another_answer_than_a_switch_of_protocols_is_an_error_that_tells_it(
    serve: Serve, protocols: tuple[str, ...], answer: bytes, error: type[PlatformError], said: str
) -> None:
    site = serve(protocols=protocols)
    site.server.answer = answer
    with pytest.raises(error, match=said):
        site.exec("tar")
