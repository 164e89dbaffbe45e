"""Backups whose workers are killed, stopped or cut off: finished by others, once, with nothing lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from celery.exceptions import ChordError
from celery.result import AsyncResult
from running_fleet import Broker, Fleet, Worker, wait_until

from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.errors import PermanentError

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
    assert fleet.events(task=RUN, event="requeued")


def test_a_shard_whose_process_is_killed_is_done_again_alone(fleet: Fleet) -> None:
    fleet.fill(120)
    worker = fleet.worker("backup,observe")
    result = _in_the_middle(fleet)
    for child in worker.children:
        os.kill(child, signal.SIGKILL)
    # A process may also be killed between its result and the message that this sets off: that is the reaper's to find.
    assert fleet.reaped(result)["name"] == NAME
    _assert_finished_once(fleet, {})
    attempts = fleet.record(RUN, SLOT).attempts
    assert attempts <= 1
    assert "WorkerLostError" in worker.said()
    assert len(fleet.events(task=RUN, step="plan", event="started")) == 1 + attempts


@pytest.mark.parametrize("step", ["plan", "seal"])
def test_a_worker_killed_while_it_plans_or_seals_is_succeeded_by_another(fleet: Fleet, step: str) -> None:
    fleet.fill(8, files_each=1000)
    first = fleet.worker()
    result = fleet.send(RUN, "full", slot=SLOT)
    wait_until(lambda: fleet.events(step=step, event="started"), f"{step} has begun", pause=0.002)
    first.kill()
    assert fleet.events(step=step, event="finished") == []
    assert fleet.is_state(RunState.RUNNING, RUN, SLOT)
    fleet.worker("backup,observe")
    assert fleet.reaped(result)["name"] == NAME
    _assert_finished_once(fleet, {})
    assert fleet.record(RUN, SLOT).attempts >= 1


def _none(_: Worker) -> bool:
    return True


def _has_waited_longer_than_a_lease(worker: Worker) -> bool:
    """Celery tries again after 2 seconds, and tells so."""
    return "Trying again in 4.00 seconds" in worker.said()


@pytest.mark.parametrize(
    "until", [_none, _has_waited_longer_than_a_lease], ids=["for_a_moment", "for_longer_than_a_lease"]
)
def test_redis_gone_in_the_middle_of_a_backup_loses_and_doubles_nothing(
    fleet: Fleet, broker: Broker, until: Callable[[Worker], bool]
) -> None:
    fleet.fill(120)
    times = {"G3ZKP_COORDINATION__LEASE_TTL_SECONDS": "1.5", "G3ZKP_TASKS__STARVED_SECONDS": "8"}
    worker = fleet.worker("backup,observe", **times)
    result = _in_the_middle(fleet)
    done = _stored(fleet)
    broker.stop()
    wait_until(lambda: until(worker), "the worker has noticed")
    broker.start()
    fleet.reap_until(lambda: result.ready() or _says_that_it_starves(worker), "the run ends")
    assert worker.process.poll() is None
    if not result.ready():
        # Seen once in thirty times, and the reason why a worker looks for it: its supervisor starts it again.
        worker.kill()
        fleet.worker("backup,observe", **times)
    assert fleet.reaped(result)["name"] == NAME
    _assert_finished_once(fleet, done)


def _says_that_it_starves(worker: Worker) -> bool:
    return "worker-takes-no-tasks" in worker.said()


def _objects(fleet: Fleet) -> dict[str, tuple[int, int]]:
    found = (path for path in fleet.store.rglob("*") if path.is_file())
    return {str(path.relative_to(fleet.store)): _identity(path) for path in found}


def test_a_holder_stopped_for_longer_than_its_lease_does_nothing_more_when_it_continues(fleet: Fleet) -> None:
    fleet.fill(160)
    shard_bytes = {"G3ZKP_BACKUP__SHARD_BYTES": str(32 << 20)}
    # One at a time: another shard could be stopped between its look at the lease and the object that it then puts.
    first = fleet.worker(concurrency=1, **shard_bytes)
    result = fleet.send(RUN, "full", slot=SLOT)
    (written,) = wait_until(
        lambda: fleet.markers() and _stopped_writing(fleet, first), "it is stopped as it writes", pause=0.001
    )
    done = _stored(fleet)
    second = fleet.worker("backup,observe", **shard_bytes)
    assert fleet.reaped(result)["name"] == NAME
    second.kill()
    _assert_finished_once(fleet, done)
    before = _objects(fleet)

    first.signal(signal.SIGCONT)
    # It is alive, and takes the next task: once that is done, it is done with the one that it was at.
    assert fleet.send("backup.verify", NAME).get(timeout=30)["name"] == NAME
    shard = written.name.removeprefix(".").partition(".tar")[0]
    assert shard in [line.get("part") for line in first.told("task-gave-way")]
    before.pop(str(written.relative_to(fleet.store)), None)
    assert _objects(fleet) == before
    _assert_finished_once(fleet, done)


def _stopped_writing(fleet: Fleet, worker: Worker) -> list[Path]:
    """Stops the worker where it writes an archive, and tells which. One that was done by then goes on."""
    if not _being_written(fleet):
        return []
    worker.signal(signal.SIGSTOP)
    found = _being_written(fleet)
    if not found:
        worker.signal(signal.SIGCONT)
    return found


def _being_written(fleet: Fleet) -> list[Path]:
    found = []
    for path in fleet.store.rglob(".ipfs*.part-*"):
        with suppress(FileNotFoundError):  # whole by now, and under its own name
            if path.stat().st_size > 1 << 20:
                found.append(path)
    return found


def _kill_each(fleet: Fleet, worker: Worker, step: str, result: AsyncResult) -> int:
    """Kills the pool each time the step begins anew, until the run has ended. Returns how often."""
    killed = 0

    def kill_and_look() -> bool:
        nonlocal killed
        begun = len(fleet.events(step=step, event="started"))
        if begun > killed:
            killed = begun
            for child in worker.children:
                os.kill(child, signal.SIGKILL)
        return result.ready()

    fleet.reap_until(kill_and_look, "the run is given up")
    return killed


@pytest.mark.parametrize("step", ["plan", "ipfs.000"])
def test_a_task_that_kills_its_worker_each_time_is_given_up(fleet: Fleet, step: str) -> None:
    fleet.fill(8, files_each=1000)
    limits = {"G3ZKP_COORDINATION__MAX_ATTEMPTS": "2", "G3ZKP_BACKUP__SHARD_BYTES": str(1 << 30)}
    fleet.worker("observe", concurrency=1, **limits)
    worker = fleet.worker(concurrency=1, **limits)
    result = fleet.send(RUN, "full", slot=SLOT)
    # Twice by the count of the shard's starts, or of the run's: which one depends on when the pool notices.
    assert 2 <= _kill_each(fleet, worker, step, result) <= 4
    with pytest.raises((PermanentError, ChordError), match=r"given up after 2 (attempts|starts).*worker"):
        result.get(timeout=1)
    assert fleet.is_state(RunState.FAILED, RUN, SLOT)
    assert [event.outcome for event in fleet.events(task=RUN, step="", event="failed")] == ["run-exhausted"]
    assert fleet.manifests() == []
