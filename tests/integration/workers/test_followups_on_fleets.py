"""What the fleets do once a backup is made: a full is drilled, each is copied where there is a second store."""

from __future__ import annotations

import os

import pytest
from running_fleet import Fleet, wait_until

from g3zkp_maint.backup.evidence import read_all
from g3zkp_maint.coordination.run_record import RunState

pytestmark = pytest.mark.integration

SUNDAY = "2026-03-08T02:00Z"


def settings(fleet: Fleet) -> dict[str, str]:
    return {
        "G3ZKP_DRILL__SCRATCH": str(fleet.folder / "scratch"),
        "G3ZKP_SECOND_STORE__KIND": "directory",
        "G3ZKP_SECOND_STORE__DIRECTORY__PATH": str(fleet.folder / "second"),
    }


def test_a_full_is_copied_and_drilled_by_the_fleet_that_may_and_an_incremental_only_copied(fleet: Fleet) -> None:
    fleet.fill(4)
    fleet.worker("backup", **settings(fleet))
    made = fleet.send("backup.run", "full", slot=SUNDAY).get(timeout=30)
    name = made["name"]
    wait_until(lambda: fleet.is_state(RunState.DONE, "backup.copy", name), "the copy is made")
    assert read_all(fleet.services.repository) == []  # the backup fleet cannot, and does not take the task
    fleet.worker("crypto", **settings(fleet))
    wait_until(lambda: fleet.is_state(RunState.DONE, "crypto.drill", name), "the drill is held")
    (kept,) = read_all(fleet.services.repository)
    assert kept.evidence is not None
    assert (kept.evidence.backup, kept.evidence.outcome, kept.evidence.run) == (name, "ok", name)
    assert [path.name for path in (fleet.folder / "scratch").iterdir()] == [".lock"]
    copied = sorted(path.relative_to(fleet.folder / "second") for path in (fleet.folder / "second").rglob("*.age"))
    assert copied == sorted(path.relative_to(fleet.store) for path in fleet.store.rglob("*.age"))

    (lost,) = (fleet.folder / "second").rglob("MANIFEST.json")  # as where its copy had failed
    lost.unlink()
    (fleet.data / "ipfs" / "new").write_bytes(os.urandom(100))
    later = fleet.send("backup.run").get(timeout=30)["name"]
    wait_until(lambda: fleet.is_state(RunState.DONE, "backup.copy", later), "the copy is made")
    assert lost.exists()
    assert fleet.record("crypto.drill", later) is None
    assert fleet.send("backup.reread").get(timeout=30)["problems"] == []


def test_a_drill_that_fails_is_a_failed_run_of_its_own_and_the_backup_stays_done(fleet: Fleet) -> None:
    fleet.fill(4)
    fleet.worker("backup", **settings(fleet))
    name = fleet.send("backup.run", "full", slot=SUNDAY).get(timeout=30)["name"]
    archive = next(fleet.store.rglob("ipfs.000*.age"))
    raw = bytearray(archive.read_bytes())
    raw[1000] ^= 1
    archive.write_bytes(raw)
    fleet.worker("crypto", **settings(fleet))
    wait_until(lambda: fleet.is_state(RunState.FAILED, "crypto.drill", name), "the drill fails")
    record = fleet.record("crypto.drill", name)
    assert record is not None
    assert record.error is not None
    assert record.error.code == "drill-failed"
    assert archive.relative_to(fleet.store).as_posix() in record.error.message
    assert fleet.is_state(RunState.DONE, "backup.run", SUNDAY)
    assert [event.outcome for event in fleet.events(task="crypto.drill", step="", event="failed")] == ["drill-failed"]
