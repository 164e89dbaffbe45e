"""Calls of a real messenger's modules, in all the ways in which they can go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from g3zkp_maint.errors import LeaseLost, MessengerCallFailed, MessengerUnfit
from g3zkp_maint.messenger_call import call
from g3zkp_maint.platforms.base import Platform
from g3zkp_maint.platforms.local import LocalPlatform
from g3zkp_maint.testing.running_stack import running_stack, wait_for

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    state = tmp_path_factory.mktemp("stack") / "state"
    with running_stack(state, "--no-fleets", "--no-flower"):
        yield state


@pytest.fixture
def platform(state: Path) -> Platform:
    return LocalPlatform(state)


def ask(platform: Platform, script: str, *args: Any, timeout_seconds: float = 20, **options: Any) -> Any:
    return call(platform, script, timeout_seconds=timeout_seconds, args=args, **options)


def test_a_call_gives_what_the_module_returned_and_passes_its_arguments(platform: Platform) -> None:
    script = "return [await require('@g3zkp/storage').deleteMessagesBefore(args[0]), ...args]"
    assert ask(platform, script, 1000, 'it\'s "quoted" `$HOME` é') == [0, 1000, 'it\'s "quoted" `$HOME` é']


def test_noise_on_stdout_before_and_after_the_answer_is_passed_over(platform: Platform) -> None:
    noisy = """
    process.stdout.write('{"answer": 13}\\ng3zkp-answer-0 {"answer":14}\\n' + 'x'.repeat(3 << 20));
    setImmediate(() => console.log('late'));
    process.on('exit', () => console.log('last words'));
    return { count: 7 };
    """
    assert ask(platform, noisy) == {"count": 7}


def test_an_answer_comes_though_the_module_keeps_its_connections_open(platform: Platform) -> None:
    assert ask(platform, "setInterval(() => {}, 1000); return 'done'") == "done"


def test_nothing_returned_is_none(platform: Platform) -> None:
    assert ask(platform, "return") is None


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("throw new Error('the disk is full')", "the disk is full"),
        ("return Promise.reject(new Error('locked'))", "locked"),
        ("throw undefined", "undefined"),
        ("Promise.reject(new Error('behind the back')); await new Promise((r) => setTimeout(r, 5000))", "behind the"),
        ("process.exit(0)", "no answers"),
        ("process.exit(3)", "exit code 3"),
        ("await new Promise(() => {})", "never settled"),
        ("return 1n", "no JSON"),
        ("return require('@g3zkp/storage').deleteMessagesBefore('soon')", "cutoff"),
        ("return require('@g3zkp/storage').deleteEverything()", "not a function"),
    ],
)
def test_what_went_wrong_in_the_module_is_told(platform: Platform, script: str, told: str) -> None:
    with pytest.raises(MessengerCallFailed, match=told):
        ask(platform, script)


def test_a_secret_in_what_the_module_threw_is_masked(platform: Platform) -> None:
    with pytest.raises(MessengerCallFailed) as caught:
        ask(platform, "throw new Error('no route to redis://:hunter2@db')")
    assert "hunter2" not in str(caught.value)


def test_a_module_that_is_not_there_is_no_use_trying_again(platform: Platform) -> None:
    with pytest.raises(MessengerUnfit, match="@g3zkp/other"):
        ask(platform, "return require('@g3zkp/other')")


@pytest.mark.parametrize(
    "hang", ["for (;;);", "await new Promise(() => setInterval(() => {}, 1000))"], ids=["busy", "idle"]
)
def test_a_module_that_hangs_is_ended_at_the_deadline(platform: Platform, hang: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(MessengerCallFailed, match=r"not answer within 1\.5 s"):
        ask(platform, f"{_write_pid(tmp_path)} {hang}", timeout_seconds=1.5)
    assert time.monotonic() - began < 12  # well before the caller's own limit
    assert not _runs(_pid(tmp_path))


def test_a_lost_lease_ends_the_call(platform: Platform, tmp_path: Path) -> None:
    class LostSoon:
        token = 7

        def ensure_held(self) -> None:
            if (tmp_path / "pid").exists():
                raise LeaseLost("lost")

        def verify(self) -> None: ...

    with pytest.raises(LeaseLost):
        ask(platform, f"{_write_pid(tmp_path)} for (;;);", guard=LostSoon(), silence_seconds=0.4)
    assert not _runs(_pid(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_call_ends_with_its_caller_when_that_is_killed_or_frozen(
    state: Path, number: signal.Signals, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from g3zkp_maint.messenger_call import call\n"
        "from g3zkp_maint.platforms.local import LocalPlatform\n"
        "call(LocalPlatform(Path(sys.argv[1])), sys.argv[2], timeout_seconds=100, silence_seconds=2)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code, str(state), f"{_write_pid(tmp_path)} for (;;);"])
    try:
        wait_for((tmp_path / "pid").exists, 30, lambda: "the call has not begun")
        caller.send_signal(number)
        wait_for(lambda: not _runs(_pid(tmp_path)), 20, lambda: "the call goes on without its caller")
    finally:
        caller.kill()
        caller.wait()


def _write_pid(folder: Path) -> str:
    return (
        f"require('fs').writeFileSync('{folder}/part', String(process.pid)); "
        f"require('fs').renameSync('{folder}/part', '{folder}/pid');"
    )


def _pid(folder: Path) -> int:
    return int((folder / "pid").read_text())


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that is dead and not yet collected by its parent does nothing any more.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_an_answer_is_whole_however_slowly_its_process_ends(platform: Platform) -> None:
    """The caller's pulse ends with the answer, and the process has yet to exit."""
    slow = "process.on('exit', () => { const until = Date.now() + 700; while (Date.now() < until); }); return 5"
    assert ask(platform, slow) == 5
