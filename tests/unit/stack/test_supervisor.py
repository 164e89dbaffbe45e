"""The supervisor's decisions, round by round, on a clock of our own and real, tiny processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from g3zkp_maint.stack.processes import ProcessSpec
from g3zkp_maint.stack.supervisor import Seen, Supervisor

STAYS = (sys.executable, "-S", "-c", "import signal; print(1, flush=True); signal.pause()")
ENDS = (sys.executable, "-S", "-c", "raise SystemExit(7)")
DEAF = (
    sys.executable,
    "-S",
    "-c",
    "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\nwhile True: signal.pause()",
)


@dataclass
class Answering:
    ready: bool = False

    def is_ready(self) -> bool:
        return self.ready


class Rounds:
    """A supervisor with its wanted specifications and its time."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.supervisor = Supervisor(say=self.said.append)
        self.wanted: list[ProcessSpec] = []
        self.now = 0.0

    def look(self, *, after: float = 0.0, at_once: bool = False) -> dict[str, Seen]:
        self.now += after
        self.supervisor.look(self.wanted, self.now, at_once=at_once)
        return {one.name: one for one in self.supervisor.seen()}

    def until(self, condition: Callable[[dict[str, Seen]], bool], *, after: float = 0.0) -> dict[str, Seen]:
        deadline = time.monotonic() + 10
        while not condition(seen := self.look(after=after)):
            assert time.monotonic() < deadline, seen
            time.sleep(0.01)
        return seen


@pytest.fixture
def rounds() -> Iterator[Rounds]:
    made = Rounds()
    yield made
    made.wanted = []
    deadline = time.monotonic() + 10
    while made.supervisor.lowest_rank() is not None and time.monotonic() < deadline:
        made.look(at_once=True)
        time.sleep(0.01)
    made.supervisor.close()


def spec(tmp_path: Path, name: str = "one", argv: tuple[str, ...] = STAYS, **fields: object) -> ProcessSpec:
    made = ProcessSpec(name, argv, dict(os.environ), tmp_path, tmp_path / f"{name}.log", 0, 5.0)
    return replace(made, **fields)  # type: ignore[arg-type]


def is_started(log: Path) -> bool:
    return log.exists() and log.read_text().startswith("1")


def test_what_is_wanted_is_started_and_what_is_not_wanted_any_more_is_stopped(rounds: Rounds, tmp_path: Path) -> None:
    rounds.wanted = [spec(tmp_path)]
    assert rounds.look()["one"].identity is not None
    rounds.wanted = []
    seen = rounds.until(lambda seen: seen["one"].identity is None)
    assert seen["one"].restarts == 0
    assert rounds.said == []


def test_a_process_that_keeps_crashing_is_started_after_growing_pauses(rounds: Rounds, tmp_path: Path) -> None:
    rounds.wanted = [spec(tmp_path, argv=ENDS)]
    pauses = []
    for count in range(1, 9):
        rounds.until(lambda seen, count=count: seen["one"].restarts == count)
        pauses.append(float(rounds.said[-1].split(" in ")[1].split(" s")[0]))
        assert rounds.look(after=pauses[-1] - 0.01)["one"].identity is None
        rounds.now += 0.02
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert "exit code 7" in rounds.said[0]


def test_a_process_that_ran_steadily_is_started_again_soon(rounds: Rounds, tmp_path: Path) -> None:
    rounds.wanted = [spec(tmp_path)]
    for count in range(1, 4):
        identity = rounds.until(lambda seen: seen["one"].identity is not None, after=0.5)["one"].identity
        assert identity is not None
        rounds.now += 31
        os.kill(identity.pid, signal.SIGKILL)
        rounds.until(lambda seen, count=count: seen["one"].restarts == count)
        assert "in 0.5 s" in rounds.said[-1]


def test_a_new_revision_replaces_the_process(rounds: Rounds, tmp_path: Path) -> None:
    rounds.wanted = [spec(tmp_path)]
    before = rounds.look()["one"].identity
    rounds.wanted = [spec(tmp_path, revision=2)]
    seen = rounds.until(lambda seen: seen["one"].revision == 2)
    assert seen["one"].identity not in (None, before)
    assert rounds.said == []


def test_what_needs_another_waits_until_that_is_ready(rounds: Rounds, tmp_path: Path) -> None:
    answering = Answering()
    rounds.wanted = [spec(tmp_path, "needs", after=("base",)), spec(tmp_path, "base", probe=answering)]
    for _ in range(3):
        assert rounds.look(after=1)["needs"].identity is None
    answering.ready = True
    rounds.until(lambda seen: seen["needs"].identity is not None, after=0.5)


def test_one_missed_probe_is_forgiven_and_several_in_a_row_are_not(rounds: Rounds, tmp_path: Path) -> None:
    answering = Answering(ready=True)
    rounds.wanted = [spec(tmp_path, probe=answering)]
    rounds.until(lambda seen: seen["one"].is_ready, after=0.5)
    answering.ready = False
    rounds.until(lambda seen: not seen["one"].is_ready, after=0.5)
    answering.ready = True
    rounds.until(lambda seen: seen["one"].is_ready, after=0.5)


def test_a_process_that_ignores_the_request_is_killed_when_its_time_is_over(rounds: Rounds, tmp_path: Path) -> None:
    rounds.wanted = [spec(tmp_path, argv=DEAF)]
    rounds.until(lambda _: is_started(tmp_path / "one.log"))
    rounds.wanted = []
    for _ in range(5):
        assert rounds.look(after=0.9)["one"].identity is not None
    rounds.until(lambda seen: seen["one"].identity is None, after=0.6)


def test_what_a_killed_process_has_started_does_not_outlive_it(rounds: Rounds, tmp_path: Path) -> None:
    parent = f"import subprocess, sys; p = subprocess.Popen({list(STAYS)!r}); print(p.pid, flush=True); p.wait()"
    rounds.wanted = [spec(tmp_path, argv=(sys.executable, "-S", "-c", parent))]
    rounds.until(lambda _: "\n" in (tmp_path / "one.log").read_text())
    grandchild = int((tmp_path / "one.log").read_text().split("\n")[0])
    identity = rounds.look()["one"].identity
    assert identity is not None
    os.kill(identity.pid, signal.SIGKILL)
    rounds.until(lambda seen: seen["one"].restarts == 1)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{grandchild}").exists() and "\nState:\tZ" not in Path(f"/proc/{grandchild}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_program_that_is_not_there_is_said_and_tried_again(rounds: Rounds, tmp_path: Path) -> None:
    rounds.wanted = [spec(tmp_path, argv=("/no/such/program",))]
    assert rounds.look()["one"].restarts == 1
    assert "cannot be started (No such file or directory)" in rounds.said[0]
    assert rounds.look(after=1)["one"].restarts == 2
