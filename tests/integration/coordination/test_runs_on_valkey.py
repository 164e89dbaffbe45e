"""Runs against a real Valkey, begun by real processes that are really killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination import Finished, Runs, RunState, Started
from g3zkp_maint.errors import RunBusy

pytestmark = pytest.mark.integration
HOLDER = Path(__file__).with_name("holder.py")


@pytest.fixture
def runs(client, make_leases) -> Runs:
    return Runs(client, clock=SystemClock(), leases=make_leases(), keep_days=1, max_attempts=3, handoff_seconds=60)


@pytest.fixture
def start(redis_url: str) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(owner: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HOLDER), "run", redis_url, "1.0", owner]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_until_dead(runs: Runs) -> None:
    deadline = time.monotonic() + 10
    while not runs.dead():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_of_five_processes_that_begin_a_run_at_once_one_starts(start):
    processes = [start(f"w{n}") for n in range(5)]
    told = sorted(process.stdout.readline().strip() for process in processes)
    assert told == ["run-busy"] * 4 + ["started 1"]


def test_of_five_threads_that_begin_a_run_at_once_one_starts_and_the_others_get_its_result(runs):
    def begin(n: int) -> Started | Finished:
        deadline = time.monotonic() + 20
        while True:
            try:
                found = runs.begin("backup.run", "slot", owner=f"w{n}", signature="s", deadline_seconds=60)
                break
            except RunBusy:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        if isinstance(found, Started):
            runs.finish(found, {"by": n})
        return found

    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(begin, range(5)))
    (started,) = [f for f in found if isinstance(f, Started)]
    results = [f.result for f in found if isinstance(f, Finished)]
    assert results == [{"by": int(started.record.owner[1:])}] * 4


def test_killed_runs_are_taken_over_until_the_cap(runs, start):
    for attempt in (1, 2, 3):
        worker = start(f"w{attempt}")
        assert worker.stdout.readline() == f"started {attempt}\n"
        worker.kill()
        wait_until_dead(runs)
    last = start("w4")
    assert last.stdout.readline() == "run-exhausted\n"
    record = runs.get("backup.run", "slot")
    assert record.state is RunState.FAILED
    assert "attempt 3 by w3 died" in record.error.message
    assert start("w5").stdout.readline() == "finished\n"


def test_of_many_reapers_one_enqueues_a_dead_run(runs, start):
    worker = start("w1")
    worker.stdout.readline()
    worker.kill()
    wait_until_dead(runs)
    (seen,) = runs.dead()
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: runs.mark_requeued(seen), range(8)))
    assert [c.state for c in claims if c] == [RunState.QUEUED]


def test_records_survive_a_restart_of_redis(valkey, runs):
    run = runs.begin("backup.run", "slot", owner="w1", signature="s", deadline_seconds=60)
    valkey.stop()
    valkey.start()
    runs.finish(run, {"ok": True})
    assert runs.begin("backup.run", "slot", owner="w2", signature="s", deadline_seconds=60).result == {"ok": True}


def test_parts_of_a_canvas_that_begin_at_once_all_find_it_open(runs: Runs) -> None:
    begun = runs.begin("backup.run", "slot", owner="one", signature="{}", deadline_seconds=60)
    assert isinstance(begun, Started)
    runs.handoff(begun)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: runs.keep_open("backup.run", "slot", chain=begun.chain), range(60)))
    assert found == [True] * 60
