"""Backups as the fleets run them: enqueued, deduplicated, superseded, waiting, failing."""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import time

import pytest
from celery.exceptions import ChordError
from running_fleet import MIB, Fleet, Worker, wait_until

from g3zkp_maint.coordination import Mode
from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.errors import (
    BadInput,
    MaintenanceError,
    PermanentError,
    RestoreError,
    RunExhausted,
    UnknownBackup,
)

pytestmark = pytest.mark.integration

RUN = "backup.run"
WEDNESDAY = "2026-03-04T02:00Z"
SUNDAY = "2026-03-08T02:00Z"

README = """
import json
from workers.backup import run
print(json.dumps(run.delay("full").get(timeout=30)))
"""


def test_a_shell_enqueues_a_full_and_then_incrementals_as_the_readme_shows(fleet: Fleet) -> None:
    fleet.fill(12)
    fleet.worker()
    asked = fleet.shell(README)
    assert asked.returncode == 0, asked.stderr
    full = json.loads(asked.stdout)
    assert full["outcome"] == "ok"
    assert len(fleet.manifest(full["name"]).archives) > 2

    new = fleet.data / "ipfs" / "new"
    new.write_bytes(os.urandom(100))
    # What is as young as its backup would be looked at once more by the next one.
    wait_until(lambda: time.time() > int(new.stat().st_ctime) + 1, "a second passes")
    incremental = fleet.send(RUN, "incremental").get(timeout=30)
    assert fleet.manifest(incremental["name"]).parent == full["name"]
    fleet.assert_restorable(incremental["name"])

    unchanged = fleet.send(RUN).get(timeout=30)
    assert list(fleet.manifest(unchanged["name"]).own_archives()) == []
    fleet.assert_restorable(unchanged["name"])


def test_what_makes_no_sense_is_refused_and_told_to_the_caller(fleet: Fleet) -> None:
    fleet.worker("backup,crypto,cleanup,observe")
    with pytest.raises(BadInput, match="'weekly' is no type of backup"):
        fleet.send(RUN, "weekly").get(timeout=30)
    with pytest.raises(BadInput, match="slot"):
        fleet.send(RUN, "full", slot="a slot with spaces").get(timeout=30)


def test_the_same_slot_enqueued_five_times_at_once_runs_once(fleet: Fleet) -> None:
    fleet.fill(40)
    fleet.worker()
    sent = [fleet.send(RUN, "full", slot=WEDNESDAY) for _ in range(5)]
    results = [one.get(timeout=60) for one in sent]
    assert [result == results[0] for result in results] == [True] * 5
    assert results[0]["name"] == "g3zkp_full_20260304_020000"
    assert len(fleet.manifests()) == 1
    for step in ("plan", "seal"):
        assert len(fleet.events(task=RUN, step=step, event="started")) == 1
    assert len(fleet.events(task=RUN, step="", event="finished")) == 1


def test_the_incremental_of_a_sunday_gives_way_to_the_full(fleet: Fleet) -> None:
    fleet.fill(1)
    fleet.worker()
    told = fleet.send(RUN, "incremental", slot=SUNDAY).get(timeout=30)
    assert told == {"superseded_by": "backup-full"}
    assert fleet.is_state(RunState.SUPERSEDED, f"{RUN}-incremental", SUNDAY)
    assert fleet.manifests() == []
    assert fleet.send(RUN, "full", slot=SUNDAY).get(timeout=30)["name"] == "g3zkp_full_20260308_020000"


def test_a_backup_waits_for_the_data_without_taking_up_a_worker(fleet: Fleet) -> None:
    fleet.fill(1)
    fleet.worker(concurrency=1)
    with fleet.services.leases.acquire({"data": Mode.EXCLUSIVE}, owner="cleanup.run:test"):
        result = fleet.send(RUN, "full", slot=WEDNESDAY)
        wait_until(lambda: fleet.is_state(RunState.WAITING, RUN, WEDNESDAY), "the run waits")
        with pytest.raises(UnknownBackup):
            fleet.send("backup.verify", "g3zkp_full_20000101_000000").get(timeout=10)
        assert not result.ready()
        assert "cleanup.run:test" in fleet.record(RUN, WEDNESDAY).error.message
    assert result.get(timeout=30)["outcome"] == "ok"
    assert fleet.record(RUN, WEDNESDAY).attempts == 0


def test_a_backup_that_waits_too_long_fails_and_says_for_what(fleet: Fleet) -> None:
    fleet.worker(G3ZKP_COORDINATION__LEASE_WAIT_SECONDS="2")
    told = r"gave up after waiting 2 s.*'data'.*cleanup\.run:test"
    held = fleet.services.leases.acquire({"data": Mode.EXCLUSIVE}, owner="cleanup.run:test")
    with held, pytest.raises(RunExhausted, match=told):
        fleet.send(RUN, "full", slot=WEDNESDAY).get(timeout=30)
    assert fleet.is_state(RunState.FAILED, RUN, WEDNESDAY)


def _limit_files(worker: Worker, size: int) -> None:
    """No process of the pool can write a file past `size` bytes from now on, and each is told so as of a full disk."""
    for child in worker.children:
        resource.prlimit(child, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_shard_that_finds_no_room_fails_the_run_and_a_reset_goes_on_where_it_was(fleet: Fleet) -> None:
    fleet.fill(12)
    (fleet.data / "keys" / "large").write_bytes(os.urandom(12 * MIB))
    worker = fleet.worker(concurrency=1)
    _limit_files(worker, 8 * MIB)
    failed = fleet.send(RUN, "full", slot=WEDNESDAY)
    with pytest.raises((PermanentError, ChordError), match=r"no room for .*keys\.000"):
        failed.get(timeout=30)
    record = fleet.record(RUN, WEDNESDAY)
    assert record is not None
    assert (record.state, record.error.code if record.error else "") == (RunState.FAILED, "store-full")
    assert [event.outcome for event in fleet.events(task=RUN, step="", event="failed")] == ["store-full"]
    assert fleet.manifests() == []
    with pytest.raises(PermanentError, match=r"has failed \(store-full: no room for .*reset"):
        fleet.send(RUN, "full", slot=WEDNESDAY).get(timeout=30)
    stored = {path: path.stat().st_ino for path in fleet.store.rglob("ipfs.*.tar.zst.age")}
    assert len(stored) > 2

    _limit_files(worker, resource.RLIM_INFINITY)
    fleet.services.runs.reset(RUN, WEDNESDAY)
    made = fleet.send(RUN, "full", slot=WEDNESDAY).get(timeout=30)
    assert {path: path.stat().st_ino for path in fleet.store.rglob("ipfs.*.tar.zst.age")} == stored
    fleet.assert_restorable(made["name"])


def test_a_run_that_meets_its_soft_limit_is_tried_again_and_then_says_so(fleet: Fleet) -> None:
    # At the highest level this text takes a core for some ten seconds.
    (fleet.data / "ipfs" / "text").write_text(os.urandom(8 * MIB).hex())
    fleet.worker(
        G3ZKP_TASKS__SOFT_LIMIT_SECONDS="1",
        G3ZKP_COORDINATION__MAX_ATTEMPTS="2",
        G3ZKP_BACKUP__COMPRESSION_LEVEL="19",
        G3ZKP_BACKUP__SHARD_BYTES=str(1 << 30),
    )
    with pytest.raises((PermanentError, ChordError), match="soft time limit"):
        fleet.send(RUN, "full", slot=WEDNESDAY).get(timeout=40)
    record = fleet.record(RUN, WEDNESDAY)
    assert record is not None
    assert record.state is RunState.FAILED


def _written_anywhere(fleet: Fleet) -> bytes:
    """All that was ever written to Redis, of messages also what their envelope hides, and the workers' logs."""
    redis = b"".join(path.read_bytes() for path in (fleet.folder / "broker" / "appendonlydir").iterdir())
    bodies = [
        base64.b64decode(found) for found in re.findall(rb"(?:[A-Za-z0-9+/]{4}){10,}(?:[A-Za-z0-9+/=]{4})?", redis)
    ]
    return b"".join([redis, *bodies, *(worker.log.read_bytes() for worker in fleet.workers)])


def test_no_key_or_password_is_in_redis_or_in_a_log_whether_runs_succeed_or_fail(fleet: Fleet) -> None:
    fleet.fill(4)
    worker = fleet.worker("backup,crypto", G3ZKP_LOG__LEVEL="debug")
    name = fleet.send(RUN, "full").get(timeout=30)["name"]
    fleet.send("backup.verify", name).get(timeout=30)
    with pytest.raises(RestoreError):
        fleet.send("crypto.restore", name, force=True, reason="a test").get(timeout=30)
    _limit_files(worker, 1000)
    with pytest.raises((MaintenanceError, ChordError)):
        fleet.send(RUN, "full").get(timeout=30)
    written = _written_anywhere(fleet)
    # It is all there: what follows would pass on nothing.
    assert name.encode() in written
    assert b"confirm it with the token" in written
    for secret in fleet.private:
        assert secret.encode() not in written
