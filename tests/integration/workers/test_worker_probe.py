"""`g3zkp-maint probe worker` on real workers: one that works, one that takes no tasks any more, one that hangs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
from running_fleet import ROOT, Broker, Fleet, wait_until

pytestmark = pytest.mark.integration

_COMMAND = "from g3zkp_maint.cli import main; main()"


def probe(fleet: Fleet, number: int, *options: str) -> subprocess.CompletedProcess[str]:
    name = f"worker{number}@{socket.gethostname()}"
    argv = ["probe", "worker", "--queue", "cleanup", "--name", name, "--within", "6", *options]
    return subprocess.run(
        [sys.executable, "-c", _COMMAND, *argv],
        env=fleet.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_worker_is_there_until_it_hangs_or_takes_no_tasks_any_more(fleet: Fleet, broker: Broker) -> None:
    hangs = fleet.worker("cleanup", concurrency=1, G3ZKP_TASKS__STARVED_SECONDS="2")
    fleet.worker("cleanup", concurrency=1, G3ZKP_TASKS__STARVED_SECONDS="2")
    for number in (1, 2):
        wait_until(lambda number=number: probe(fleet, number).returncode == 0, "the worker is there")
    assert probe(fleet, 3).returncode == 75, "one that never was is not there"
    hangs.signal(signal.SIGSTOP)
    wait_until(lambda: probe(fleet, 1).returncode == 75, "a worker that hangs is not there")
    assert "silent for" in probe(fleet, 1).stderr
    assert probe(fleet, 2).returncode == 0, "the other one is"
    # It lives, answers and beats on, as workers were seen to that lost their consumer with a broker's restart.
    fleet.client.control.cancel_consumer("cleanup", destination=[f"worker2@{socket.gethostname()}"], reply=True)
    fleet.send("cleanup.canary")
    wait_until(lambda: probe(fleet, 2).returncode == 75, "a worker that takes no tasks is not there")
    broker.stop()
    away = probe(fleet, 2)
    assert away.returncode == 75, away
    alive = probe(fleet, 2, "--alive")
    assert alive.returncode == 0, alive
    assert "nothing is known" in alive.stdout
