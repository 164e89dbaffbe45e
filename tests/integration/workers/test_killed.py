"""Backups whose workers are killed, stopped or cut off: finished by others, once, with nothing lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from celery.result import AsyncResult
from running_fleet import Fleet, Worker, wait_until

from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.errors import NotBuilt, RunExhausted

pytestmark = pytest.mark.integration

RUN = "backup.run"
SLOT = "2026-03-04T02:00Z"
NAME = "g3zkp_full_20260304_020000"


def _in_the_middle(fleet: Fleet, *, done: int = 3) -> AsyncResult:
    """Enqueues a backup and returns when some of its shards are done, and most are not."""
    result = fleet.send(RUN, "full", slot=SLOT)
    wait_until(lambda: len(fleet.markers()) >= done, "some shards are done", pause=0.002)
    return result


def _stored(fleet: Fleet) -> dict[str, tuple[int, int]]:
    """Inode and time of each archive that a marker names: another one in its place would have others."""
    keys = [json.loads(raw)["archive"]["key"] for raw in fleet.markers().values()]
    return {key: _identity(fleet.store / key) for key in keys}


def _identity(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


def _assert_finished_once(fleet: Fleet, done_before: dict[str, tuple[int, int]]) -> None:
    assert [path.parent.name for path in fleet.manifests()] == [NAME]
    named = {archive.key for archive in fleet.manifest(NAME).archives}
    assert set(done_before) <= named
    assert {key: _identity(fleet.store / key) for key in done_before} == done_before
    assert len(fleet.events(task=RUN, step="", event="finished")) == 1
    fleet.assert_restorable(NAME)


def test_a_worker_killed_between_shards_is_succeeded_by_another_that_does_only_the_rest(fleet: Fleet) -> None:
    fleet.fill(120)
    first = fleet.worker()
    result = _in_the_middle(fleet)
    first.kill()
    done = _stored(fleet)
    assert fleet.manifests() == []
    fleet.worker("backup,observe")
    assert fleet.reaped(result)["name"] == NAME
    _assert_finished_once(fleet, done)
    assert len(fleet.events(task=RUN, event="requeued")) == 1


def test_a_shard_whose_process_is_killed_is_done_again_alone(fleet: Fleet) -> None:
    fleet.fill(120)
    worker = fleet.worker()
    result = _in_the_middle(fleet)
    for child in worker.children:
        os.kill(child, signal.SIGKILL)
    assert result.get(timeout=30)["name"] == NAME
    _assert_finished_once(fleet, {})
    assert fleet.record(RUN, SLOT).attempts == 0
    assert "WorkerLostError" in worker.said()
    assert len(fleet.events(task=RUN, step="plan", event="started")) == 1


@pytest.mark.parametrize("step", ["plan", "seal"])
def test_a_worker_killed_while_it_plans_or_seals_is_succeeded_by_another(fleet: Fleet, step: str) -> None:
    fleet.fill(12, files_each=1000)
    first = fleet.worker()
    result = fleet.send(RUN, "full", slot=SLOT)
    wait_until(lambda: fleet.events(step=step, event="started"), f"{step} has begun", pause=0.002)
    first.kill()
    assert fleet.events(step=step, event="finished") == []
    assert fleet.is_state(RunState.RUNNING, RUN, SLOT)
    fleet.worker("backup,observe")
    assert fleet.reaped(result)["name"] == NAME
    _assert_finished_once(fleet, {})
    assert fleet.record(RUN, SLOT).attempts == 1


def _none(_: Worker) -> bool:
    return True


def _has_waited_longer_than_a_lease(worker: Worker) -> bool:
    """Celery tries again after 2 seconds, and after 4 more."""
    return "Trying again in 6.00 seconds" in worker.said()


@pytest.mark.parametrize(
    "until", [_none, _has_waited_longer_than_a_lease], ids=["for_a_moment", "for_longer_than_a_lease"]
)
def test_redis_gone_in_the_middle_of_a_backup_loses_and_doubles_nothing(
    fleet: Fleet, until: Callable[[Worker], bool]
) -> None:
    fleet.fill(120)
    worker = fleet.worker("backup,observe")
    result = _in_the_middle(fleet)
    done = _stored(fleet)
    fleet.broker.stop()
    wait_until(lambda: until(worker), "the worker has noticed")
    fleet.broker.start()
    assert fleet.reaped(result)["name"] == NAME
    _assert_finished_once(fleet, done)
    assert worker.process.poll() is None


def test_a_holder_stopped_for_longer_than_its_lease_does_nothing_more_when_it_continues(fleet: Fleet) -> None:
    fleet.fill(120)
    first = fleet.worker()
    result = _in_the_middle(fleet)
    first.signal(signal.SIGSTOP)
    done = _stored(fleet)
    second = fleet.worker("backup,observe")
    assert fleet.reaped(result)["name"] == NAME
    second.kill()
    _assert_finished_once(fleet, done)
    objects = {path: _identity(path) for path in fleet.store.rglob("*") if path.is_file() and path.name[0] != "."}

    first.signal(signal.SIGCONT)
    # It is alive, and takes the next task.
    with pytest.raises(NotBuilt):
        fleet.send("backup.prune").get(timeout=30)
    wait_until(lambda: "task-gave-way" in first.said(), "the first gives way")
    after = {path: _identity(path) for path in fleet.store.rglob("*") if path.is_file() and path.name[0] != "."}
    assert {path: after[path] for path in objects} == objects
    assert sorted(str(path) for path in set(after) - set(objects)) == []
    _assert_finished_once(fleet, done)


def _kill_each(fleet: Fleet, worker: Worker, step: str, result: AsyncResult) -> int:
    """Kills the pool each time the step begins anew, until the run has ended. Returns how often."""
    killed = 0
    while not result.ready():
        begun = len(fleet.events(step=step, event="started"))
        if begun > killed:
            killed = begun
            for child in worker.children:
                os.kill(child, signal.SIGKILL)
    return killed


@pytest.mark.parametrize("step", ["plan", "ipfs.000"])
def test_a_task_that_kills_its_worker_each_time_is_given_up(fleet: Fleet, step: str) -> None:
    fleet.fill(20, files_each=1000)
    worker = fleet.worker(concurrency=1, G3ZKP_COORDINATION__MAX_ATTEMPTS="2", G3ZKP_BACKUP__SHARD_BYTES=str(1 << 30))
    result = fleet.send(RUN, "full", slot=SLOT)
    assert _kill_each(fleet, worker, step, result) == 2
    with pytest.raises(RunExhausted, match="2"):
        result.get(timeout=1)
    assert fleet.is_state(RunState.FAILED, RUN, SLOT)
    assert fleet.manifests() == []
