"""`health --watch` on a real messenger that goes away while it is watched."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from g3zkp_maint.cli.watching import sparks, view
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.health.history import History, Place
from g3zkp_maint.health.instances import check_all
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.platforms.local import LocalPlatform
from g3zkp_maint.settings import Health
from g3zkp_maint.testing.running_stack import running_stack

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    state = tmp_path_factory.mktemp("stack") / "state"
    with running_stack(state, "--no-fleets", "--no-flower"):
        yield state


def watched(state: Path, *options: str) -> subprocess.Popen[str]:
    environment = {"G3ZKP_PLATFORM__STATE_DIR": str(state), "G3ZKP_HEALTH__TRIES": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "health", "--watch", *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_each_look_is_a_line_of_json_and_the_exit_code_is_that_of_the_last_state(state: Path) -> None:
    platform = LocalPlatform(state)
    watcher = watched(state, "--json", "--every", "0.2")
    assert watcher.stdout is not None
    first = json.loads(watcher.stdout.readline())
    assert (first["state"], first["problems"]) == ("healthy", [])
    platform.scale(MESSENGER, 0)
    states = (json.loads(watcher.stdout.readline())["state"] for _ in range(200))
    assert "down" in states
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(20) == 1
    platform.scale(MESSENGER, 1)
    platform.wait_scaled(MESSENGER, 30)
    assert watched(state, "--looks", "1").wait(30) == 0


def test_without_a_stack_it_says_so_and_asks_again(tmp_path: Path) -> None:
    said, _ = watched(tmp_path, "--looks", "2", "--every", "0.1").communicate(timeout=30)
    assert said.count("[platform-unavailable]") == 2


def test_the_view_shows_state_places_and_what_is_wrong(state: Path) -> None:
    clock = SystemClock()
    history = History(Health(), clock.now())
    found = history.add(check_all(LocalPlatform(state)), clock.now())
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(view(history, found))
    text = console.export_text()
    assert "healthy" in text
    assert [path in text for path in ("/health", "/ready", "/metrics", "address")] == [True] * 4
    history.places[("", "/health")].seconds.append(None)
    assert "✗" in sparks(history.places[("", "/health")])


def test_bars_are_as_long_as_the_answers_took() -> None:
    place = Place()
    place.seconds.extend([0.001, 0.5, None, 1.0])
    assert sparks(place) == "▁▅✗█"
