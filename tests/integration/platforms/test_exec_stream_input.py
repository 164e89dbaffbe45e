"""Input of a command, by each protocol: all of it or an error, and never an end where it did not end."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from g3zkp_maint.errors import ExecFailed, PlatformError, StreamBroken
from g3zkp_maint.platforms.kubernetes_spdy import SPDY
from g3zkp_maint.platforms.kubernetes_websocket import V4, V5
from g3zkp_maint.testing.exec_peer import END_OF_CHANNEL, ENDING, STDIN, STDOUT, SUCCESS, ExecPeer
from g3zkp_maint.testing.exec_server import run_command

pytestmark = pytest.mark.integration

Serve = Callable[..., Any]
MIB = 1 << 20
#: Says when its input is at an end, which is the last thing that a part may look like.
UNTIL_END = ["sh", "-c", 'cat >"$0/received"; echo end >"$0/ended"']


@pytest.fixture(params=[V4, V5, SPDY])
def site(request: pytest.FixtureRequest, serve: Serve) -> Any:
    return serve(protocols=(request.param,))


def blocks(count: int) -> Iterator[bytes]:
    return (hashlib.sha256(b"%d" % number).digest() * (MIB // 32) for number in range(count))


def digest_of(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def test_input_arrives_byte_for_byte(site: Any) -> None:
    said = site.exec("sha256sum", stdin=blocks(48)).read_all().decode()
    assert said.split()[0] == digest_of(blocks(48))


def test_input_and_output_pass_each_other_without_deadlock(site: Any) -> None:
    assert digest_of(iter(site.exec("cat", stdin=blocks(24)))) == digest_of(blocks(24))


def test_a_command_that_waits_for_its_output_to_be_read_before_it_reads_is_no_deadlock(site: Any) -> None:
    first_output = ["sh", "-c", "head -c 8000000 /dev/zero; sha256sum"]
    out = b"".join(site.exec(*first_output, stdin=blocks(8)))
    assert out[:8_000_000] == bytes(8_000_000)
    assert out[8_000_000:].split()[0].decode() == digest_of(blocks(8))


def test_an_empty_input_ends_at_once(site: Any) -> None:
    assert site.exec("cat", stdin=[]).read_all() == b""
    assert site.exec("cat", stdin=[b"", b"one", b"", b"two"]).read_all() == b"onetwo"


@pytest.mark.parametrize(("protocol", "ends"), [(V4, []), (V5, [bytes((STDIN,))]), (SPDY, [bytes((STDIN,))])])
def test_the_end_of_input_is_told_by_the_protocol_where_it_has_words_for_it(
    serve: Serve, protocol: str, ends: list[bytes]
) -> None:
    heard: list[tuple[int, bytes]] = []
    over = threading.Event()

    def behave(peer: ExecPeer) -> None:
        for one in peer.received():
            heard.append(one)
            if one == ((END_OF_CHANNEL, bytes((STDIN,))) if ends else (STDIN, b"0 0\n")):
                break
        peer.message(STDOUT, ENDING)
        peer.status(SUCCESS)
        peer.close()
        over.set()

    # This server runs no command, so nobody says that all of the input has come to it.
    with pytest.raises(StreamBroken, match="input"):
        serve(behave, (protocol,)).exec("cat", stdin=[b"all"]).read_all()
    assert over.wait(5)
    assert [content for channel, content in heard if channel == END_OF_CHANNEL] == ends
    assert b"".join(content for channel, content in heard if channel == STDIN) == b"1 3\nall0 0\n"


# -- input that is left --------------------------------------------------------------------------------------------------

LEAVING = {
    "all of a little": (["true"], 1),
    "all of much": (["true"], 8 * MIB),
    "all but the beginning": (["head", "-c", "10"], 8 * MIB),
    "by closing it and going on": (["sh", "-c", "exec <&-; sleep 0.3; echo done"], 8 * MIB),
    "the last byte": (["head", "-c", "99"], 100),
}


@pytest.mark.parametrize(("argv", "size"), LEAVING.values(), ids=LEAVING)
def test_a_command_that_succeeds_and_leaves_input_is_an_error_unless_it_may(
    site: Any, argv: list[str], size: int
) -> None:
    with pytest.raises(ExecFailed, match="did not read all of its input") as caught:
        site.exec(*argv, stdin=[bytes(size)]).read_all()
    assert caught.value.exit_code == 0
    site.exec(*argv, stdin=[bytes(size)], may_leave_input=True).read_all()


def test_a_command_that_fails_without_reading_its_input_fails_by_its_own_code(site: Any) -> None:
    with pytest.raises(ExecFailed, match="exit code 3"):
        site.exec("sh", "-c", "exit 3", stdin=blocks(8)).read_all()


def test_an_input_without_end_ends_with_its_command_where_it_may_be_left(site: Any) -> None:
    def beats() -> Iterator[bytes]:
        while True:
            yield b"beat\n"
            yield b""
            time.sleep(0.01)

    assert site.exec("head", "-n", "3", stdin=beats(), may_leave_input=True).read_all() == b"beat\n" * 3


# -- input that breaks off -----------------------------------------------------------------------------------------------


class CutSocket:
    """The server's end of a connection on which no more than so many bytes arrive."""

    def __init__(self, sock: Any, left: int) -> None:
        self._sock = sock
        self._left = left

    def recv(self, size: int) -> bytes:
        data: bytes = self._sock.recv(min(size, self._left)) if self._left else b""
        self._left -= len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def ends_of(protocol: str) -> list[int]:
    """Where the frames end of an input of 100,000 bytes: "1 65536\\n", that block, "1 34464\\n", that block, "0 0\\n"."""
    headers = (8, 8, 8, 8, 8) if protocol == SPDY else (7, 15, 7, 9, 7)
    return list(accumulate(map(sum, zip(headers, (8, 65_536, 8, 34_464, 4), strict=True))))


def cuts_of(protocol: str) -> dict[str, int]:
    first, second, third, fourth, whole = ends_of(protocol)
    return {
        "before the first byte": 0,
        "in the first header": 3,
        "in the length": 11,
        "before the end of the length's line": first - 1,
        "before the block": first,
        "in the block": first + 5000,
        "between the blocks": second,
        "before the second block": third,
        "before its last byte": fourth - 1,
        "before the last length": fourth,
        "in the last header": fourth + 5,
        "in the last length": whole - 2,
        "before the end of the last line": whole - 1,
    }


CUTS = {f"{protocol}, {where}": (protocol, cut) for protocol in (V4, SPDY) for where, cut in cuts_of(protocol).items()}


@pytest.mark.parametrize(("protocol", "cut"), CUTS.values(), ids=CUTS)
def test_a_command_sees_no_end_of_an_input_that_is_cut_at_any_byte(
    serve: Serve, tmp_path: Path, protocol: str, cut: int
) -> None:
    ended = threading.Event()

    def behave(peer: ExecPeer) -> None:
        peer.sock = CutSocket(peer.sock, cut)  # type: ignore[assignment]
        run_command(peer)
        ended.set()

    with pytest.raises(StreamBroken):
        serve(behave, (protocol,)).exec(*UNTIL_END, str(tmp_path), stdin=[bytes(100_000)]).read_all()
    assert ended.wait(5)
    assert not (tmp_path / "ended").exists()


@pytest.mark.parametrize("protocol", [V4, SPDY])
def test_the_numbers_of_the_cuts_are_those_of_the_connection(serve: Serve, tmp_path: Path, protocol: str) -> None:
    def behave(peer: ExecPeer) -> None:
        peer.sock = CutSocket(peer.sock, ends_of(protocol)[-1])  # type: ignore[assignment]
        run_command(peer)

    serve(behave, (protocol,)).exec(*UNTIL_END, str(tmp_path), stdin=[bytes(100_000)]).read_all()
    assert (tmp_path / "received").stat().st_size == 100_000
    assert (tmp_path / "ended").exists()


def test_a_command_sees_no_end_where_the_callers_input_fails(site: Any, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield from blocks(3)
        raise OSError("the store is gone")

    with pytest.raises(OSError, match="the store is gone"):
        site.exec(*UNTIL_END, str(tmp_path), stdin=broken()).read_all()
    assert not (tmp_path / "ended").exists()


FEEDERS_DEATH = """
import os, pathlib, signal, sys
group = os.getppid()
shell = int(pathlib.Path(f"/proc/{group}/stat").read_text().rpartition(")")[2].split()[1])
for child in map(int, pathlib.Path(f"/proc/{shell}/task/{shell}/children").read_text().split()):
    if child != group:
        os.kill(child, signal.SIGKILL)
sys.stdin.buffer.read()
print("all was well")
"""


def test_an_input_that_ends_because_what_feeds_it_was_killed_is_an_error(site: Any) -> None:
    """As where memory is short: the one that is killed need not be the one that takes it."""

    def slow() -> Iterator[bytes]:
        yield b"a part\n"
        yield b""
        time.sleep(1)
        yield b"the rest\n"

    with pytest.raises(PlatformError):
        site.exec(sys.executable, "-c", FEEDERS_DEATH, stdin=slow()).read_all()


def test_a_stream_that_is_closed_while_it_is_read_is_never_whole(site: Any) -> None:
    """Also where the command answers its end with success."""
    polite = ["sh", "-c", "trap 'exit 0' TERM; echo part; while :; do sleep 0.05; done"]
    stream = site.exec(*polite)
    pieces = iter(stream)
    assert next(pieces) == b"part\n"
    threading.Timer(0.1, stream.close).start()
    with pytest.raises(StreamBroken):
        list(pieces)
