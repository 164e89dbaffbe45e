"""The end of a command as its shell tells it, by the shells that images have: no status alone is taken for it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from exec_conversations import WHOLE, Serve

from g3zkp_maint.errors import ExecFailed, StreamBroken
from g3zkp_maint.platforms.kubernetes_exec import KubernetesExec
from g3zkp_maint.platforms.kubernetes_script import PLAIN
from g3zkp_maint.testing.exec_peer import ENDING, STDERR, STDIN, STDOUT, SUCCESS, ExecPeer
from g3zkp_maint.testing.exec_server import Behaviour, run_command_and_say_success

pytestmark = pytest.mark.integration

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
#: Runs when its input has begun to come. Takes a moment to end, as most do; a shell that ended at once would be gone before it.
_LINGERING = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: exit(time.sleep(0.2)))
os.read(0, 1)
print("runs", end="", flush=True)
time.sleep(1000)
"""
#: Ends by itself, and leaves the rest of its input to its shell.
_SATED = "import os; os.read(0, 1); print('runs', end='', flush=True)"


def says_success_after(*pieces: bytes) -> Behaviour:
    def behave(peer: ExecPeer) -> None:
        for piece in pieces:
            peer.message(STDOUT, piece)
        peer.status(SUCCESS)

    return behave


@pytest.fixture(params=["dash", "bash", "busybox"])
def _shell(
    request: pytest.FixtureRequest,
    require_program: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What `sh` is in the image."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(require_program(request.param))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


@pytest.fixture
def _burying_nobody() -> Iterator[None]:
    """As the first process of a container whose orphans become ours; under nohup, as servers may be."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(_SUBREAPER, 1, 0, 0, 0) == 0
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)
    assert libc.prctl(_SUBREAPER, 0, 0, 0, 0) == 0


# -- what a server says ------------------------------------------------------------------------------------------------


def test_a_success_is_none_where_the_end_of_output_did_not_come(serve: Serve) -> None:
    """As an API server says it of a command whose connection to the node broke."""
    site = serve()
    for cut in range(len(ENDING)):
        site.server.behaviour = says_success_after(WHOLE + ENDING[:cut])
        seen: list[bytes] = []
        with pytest.raises(StreamBroken, match="not whole"):
            seen.extend(site.exec("tar"))
        assert (WHOLE + ENDING[:cut]).startswith(b"".join(seen))


@pytest.mark.parametrize("stdin", [None, [b"all of it"]], ids=["plain", "fed"])
@pytest.mark.parametrize("code", [1, 7, 74, 255])
@pytest.mark.usefixtures("_shell")
def test_a_success_of_a_command_that_ended_with_another_code_is_none(
    serve: Serve, code: int, stdin: list[bytes] | None
) -> None:
    command = ["sh", "-c", f"cat; exit {code}"]
    with pytest.raises(ExecFailed, match=f"exit code {code};") as caught:
        serve(run_command_and_say_success).exec(*command, stdin=stdin).read_all()
    assert caught.value.exit_code == code


def test_a_success_of_a_command_that_was_killed_is_none(serve: Serve) -> None:
    with pytest.raises(StreamBroken, match="killed by SIGKILL"):
        serve(run_command_and_say_success).exec("sh", "-c", "echo part; kill -KILL $$").read_all()


@pytest.mark.parametrize("cut", [5, 12, len(ENDING) - 1])
def test_an_end_that_comes_in_two_pieces_a_while_apart_is_one(serve: Serve, cut: int) -> None:
    def behave(peer: ExecPeer) -> None:
        peer.message(STDOUT, WHOLE + ENDING[:cut])
        # Longer than the client holds what may be output: 0.3 s here.
        threading.Event().wait(0.45)
        says_success_after(ENDING[cut:])(peer)

    assert serve(behave).exec("tar").read_all() == WHOLE


def test_an_end_that_begins_while_output_is_held_is_whole(serve: Serve) -> None:
    def behave(peer: ExecPeer) -> None:
        # Each is waited for anew: together longer than the 0.3 s for which the client holds what may be output.
        for piece in (b"a\xc1", b"b" + ENDING[:1]):
            peer.message(STDOUT, piece)
            threading.Event().wait(0.2)
        says_success_after(ENDING[1:])(peer)

    assert serve(behave).exec("tar").read_all() == b"a\xc1b"


@pytest.mark.parametrize("stderr", [b"", b"still asking\n"], ids=["in silence", "while stderr goes on"])
def test_output_that_begins_as_its_end_does_is_handed_over_before_more_comes(serve: Serve, stderr: bytes) -> None:
    """Who reads may answer, and who writes may wait for that."""
    asked, rest = b"a question" + ENDING[:4], b"\xc1" + ENDING[:12] + WHOLE + ENDING[:1]
    answered = threading.Event()

    def behave(peer: ExecPeer) -> None:
        peer.message(STDOUT, asked)
        until = time.monotonic() + 30
        while not answered.wait(0.02) and time.monotonic() < until:
            if stderr:
                peer.message(STDERR, stderr)
        if answered.is_set():
            says_success_after(rest, ENDING)(peer)

    seen = bytearray()
    for piece in serve(behave).exec("tar"):
        seen += piece
        if seen == asked:
            answered.set()
    assert seen == asked + rest


def test_input_that_was_not_sent_any_more_is_left_input(serve: Serve) -> None:
    """As of a command that ended while its sender had nothing ready to send."""
    has_ended = threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"a part"
        yield b""
        assert has_ended.wait(30)
        yield b"the rest"

    def behave(peer: ExecPeer) -> None:
        peer.message(STDERR, f"{peer.argv[4]} 4711\n{peer.argv[4]} over\n".encode())
        peer.message(STDOUT, b"done")
        for channel, content in peer.received():
            if channel == STDIN and content == b"0 0\n":
                break
        peer.message(STDERR, f"{peer.argv[4]} fed\n".encode())
        says_success_after(ENDING)(peer)

    pieces = iter(serve(behave).exec("tar", stdin=slow()))
    assert next(pieces) == b"done"
    has_ended.set()
    with pytest.raises(ExecFailed, match="did not read all of its input"):
        list(pieces)


# -- what a shell does -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_shell")
def test_a_process_that_is_left_behind_and_writes_on_is_an_error_that_says_so(serve: Serve) -> None:
    is_over = "[ ! -d /proc/$PPID ] || grep -q '^State:.Z' /proc/$PPID/status"
    left = f"(until {is_over}; do sleep 0.01; done; echo late) & echo done"
    with pytest.raises(ExecFailed, match="wrote on"):
        serve().exec("sh", "-c", left).read_all()


@pytest.mark.usefixtures("_shell")
@pytest.mark.parametrize("stdin", [None, []], ids=["plain", "fed"])
def test_a_command_is_a_program_whatever_a_shell_has_by_its_name(serve: Serve, stdin: list[bytes] | None) -> None:
    site = serve()
    assert site.exec("echo", r"a\tb", stdin=stdin).read_all() == b"a\\tb\n"
    for word in ("feed", "exit", "set"):
        with pytest.raises(ExecFailed) as caught:
            site.exec(word, stdin=stdin).read_all()
        assert caught.value.exit_code == 127


@pytest.mark.usefixtures("_shell")
def test_a_command_whose_end_cannot_be_written_has_not_succeeded() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(["sh", "-c", PLAIN, "sh", "mark", "true"], stdout=full, check=False)
    assert done.returncode == 74


@pytest.mark.usefixtures("_shell")
@pytest.mark.parametrize("stdin", [None, [b"all of it"]], ids=["plain", "fed"])
def test_a_command_that_is_ended_early_is_told_so_before_it_is_killed(
    serve: Serve, tmp_path: Path, stdin: list[bytes] | None
) -> None:
    told = tmp_path / "told"
    heeds_term = f"trap 'echo >{told}; exit' TERM; echo runs; while :; do sleep 0.02; done"
    stream = serve().exec("sh", "-c", heeds_term, stdin=stdin)
    assert next(iter(stream)) == b"runs\n"
    stream.close()
    assert told.exists()


@pytest.fixture(params=["trickles", "is_stuck"])
def more_input(request: pytest.FixtureRequest) -> Callable[[], Iterator[bytes]]:
    """Has more to come when its command is ended. What feeds it mostly waits for that, or moves a block that the command
    does not take."""

    def more() -> Iterator[bytes]:
        if request.param == "is_stuck":
            yield bytes(1 << 20)
        # Until the connection is ended.
        while not threading.Event().wait(0.05):
            yield b"."
            yield b""

    return more


@pytest.mark.usefixtures("_shell")
def test_a_command_that_is_ended_early_and_does_something_yet_sees_no_end(
    serve: Serve, tmp_path: Path, more_input: Callable[[], Iterator[bytes]]
) -> None:
    seen = tmp_path / "seen"
    heeds_no_term = (
        f"trap '' TERM; dd bs=1 count=1 >/dev/null; echo runs; sleep 0.2; cat >/dev/null; echo an end >{seen}"
    )
    stream = serve().exec("sh", "-c", heeds_no_term, stdin=more_input())
    assert next(iter(stream)) == b"runs\n"
    stream.close()
    assert not seen.exists()


@pytest.mark.usefixtures("_shell", "_burying_nobody")
def test_a_command_that_is_ended_early_is_buried(serve: Serve) -> None:
    """By its shell: in many containers nobody else would, and each would stay for ever."""
    _assert_buried(serve().exec(sys.executable, "-S", "-c", _LINGERING))


@pytest.mark.usefixtures("_shell", "_burying_nobody")
@pytest.mark.parametrize("command", [_LINGERING, _SATED], ids=["lingering", "sated"])
def test_a_command_with_input_that_is_ended_early_is_buried_and_so_is_what_feeds_it(
    serve: Serve, command: str, more_input: Callable[[], Iterator[bytes]]
) -> None:
    # By chance none is left behind, but not four times.
    for _ in range(4):
        _assert_buried(serve().exec(sys.executable, "-S", "-c", command, stdin=more_input(), may_leave_input=True))


def _assert_buried(stream: KubernetesExec) -> None:
    before = _children()
    assert next(iter(stream)) == b"runs"
    stream.close()
    until = time.monotonic() + 20
    while ours := {child: how for child, how in _children().items() if child not in before}:
        # The outermost shell is buried by the server, and nobody else by anyone.
        assert [state for _, state in ours.values()].count("Z") <= 1, ours
        assert {name for name, state in ours.values() if state == "Z"} <= {"sh"}, ours
        assert time.monotonic() < until, ours
        time.sleep(0.01)


def _children() -> dict[str, tuple[str, str]]:
    """Our child processes by their ids: names and states."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = stat.read_text().rpartition(") ")
        except OSError:  # it has ended meanwhile
            continue
        state, parent = after.split()[:2]
        if int(parent) == os.getpid():
            found[stat.parent.name] = before.partition("(")[2], state
    return found
