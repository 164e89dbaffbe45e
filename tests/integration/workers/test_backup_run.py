"""Backups as the fleets run them: enqueued, deduplicated, superseded, waiting, failing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from running_fleet import Fleet, wait_until

from g3zkp_maint.coordination import Mode
from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.errors import BadInput, NotBuilt, PermanentError, RunExhausted, StoreError

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
    for task in ("cleanup.run", "crypto.rotate_keys", "crypto.check_certificates", "observe.benchmark", "backup.prune"):
        with pytest.raises(NotBuilt, match="not built in this version"):
            fleet.send(task, slot=SUNDAY).get(timeout=30)
        assert [event.outcome for event in fleet.events(task=task, event="failed")] == ["not-built"]


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
        with pytest.raises(NotBuilt):
            fleet.send("backup.copy", "any").get(timeout=10)
        assert not result.ready()
        assert "cleanup.run:test" in fleet.record(RUN, WEDNESDAY).error.message
    assert result.get(timeout=30)["outcome"] == "ok"
    assert fleet.record(RUN, WEDNESDAY).attempts == 0


def test_a_backup_that_waits_too_long_fails_and_says_for_what(fleet: Fleet) -> None:
    fleet.worker(G3ZKP_COORDINATION__LEASE_WAIT_SECONDS="2")
    with fleet.services.leases.acquire({"data": Mode.EXCLUSIVE}, owner="cleanup.run:test"):
        with pytest.raises(RunExhausted, match=r"gave up after waiting 2 s.*'data'.*cleanup\.run:test"):
            fleet.send(RUN, "full", slot=WEDNESDAY).get(timeout=30)
    assert fleet.is_state(RunState.FAILED, RUN, WEDNESDAY)


def _blocked(fleet: Fleet) -> Path:
    """Stands where the second archive is going to be put: to root no folder is forbidden, but a file is none."""
    return fleet.store / "2026/03/g3zkp_full_20260304_020000"


def test_a_shard_that_cannot_be_stored_fails_the_run_until_it_is_reset(fleet: Fleet) -> None:
    fleet.fill(16)
    (fleet.data / "keys" / "one.key").unlink()
    (fleet.data / "keys").rmdir()
    fleet.worker()
    failed = fleet.send(RUN, "full", slot=WEDNESDAY)
    with pytest.raises(PermanentError):
        failed.get(timeout=30)


def test_no_result_record_or_log_holds_a_secret_whether_a_run_succeeds_or_fails(fleet: Fleet) -> None:
    fleet.fill(4)
    worker = fleet.worker("backup,crypto")
    fleet.send(RUN, "full").get(timeout=30)
    with pytest.raises(BadInput):
        fleet.send(RUN, fleet.broker.password + "?").get(timeout=30)
