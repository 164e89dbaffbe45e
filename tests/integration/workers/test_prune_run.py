"""Retention as the fleets run it: after each backup, apart from it, and never beside one."""

from __future__ import annotations

import pytest
from running_fleet import Fleet, wait_until

from g3zkp_maint.coordination import Mode
from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.errors import PermanentError

pytestmark = pytest.mark.integration

RUN, PRUNE = "backup.run", "backup.prune"
SLOTS = ["2026-03-01T02:00Z", "2026-03-02T02:00Z", "2026-03-03T02:00Z"]
NAMES = ["g3zkp_full_20260301_020000", "g3zkp_full_20260302_020000", "g3zkp_full_20260303_020000"]


def _names(fleet: Fleet) -> list[str]:
    return [str(name) for name in fleet.services.repository.names()]


def test_a_prune_follows_each_backup_and_is_a_run_of_its_own(fleet: Fleet) -> None:
    fleet.fill(1)
    fleet.worker(G3ZKP_RETENTION__DELETE_AFTER_HOURS="0")
    for slot in SLOTS[:2]:
        assert fleet.send(RUN, "full", slot=slot).get(timeout=30)["outcome"] == "ok"
        wait_until(lambda slot=slot: fleet.is_state(RunState.DONE, PRUNE, slot), "the prune ends")
    assert fleet.record(PRUNE, SLOTS[1]).result["deleted"] == [NAMES[0]]
    assert _names(fleet) == [NAMES[1]]
    fleet.assert_restorable(NAMES[1])


def test_a_prune_that_fails_is_loud_and_fails_no_backup(fleet: Fleet) -> None:
    fleet.fill(1)
    fleet.worker(G3ZKP_RETENTION__MAX_SHARE_PER_RUN="0.4")
    for slot in SLOTS[:2]:
        fleet.send(RUN, "full", slot=slot).get(timeout=30)
    wait_until(lambda: fleet.is_state(RunState.FAILED, PRUNE, SLOTS[1]), "the prune fails")
    assert fleet.is_state(RunState.DONE, RUN, SLOTS[1])
    assert "would take 1 of 2 backups" in fleet.record(PRUNE, SLOTS[1]).error.message
    with pytest.raises(PermanentError, match="would take 1 of 2"):
        fleet.send(PRUNE).get(timeout=30)
    assert _names(fleet) == NAMES[:2]
    assert fleet.send(PRUNE, force=True).get(timeout=30)["marked"] == [NAMES[0]]


def test_prune_waits_while_a_backup_uses_the_store_and_a_dry_run_does_not(fleet: Fleet) -> None:
    fleet.fill(1)
    fleet.worker(concurrency=1)
    with fleet.services.leases.acquire({"store": Mode.SHARED}, owner="backup.run:test"):
        waiting = fleet.send(PRUNE, slot=SLOTS[2])
        wait_until(lambda: fleet.is_state(RunState.WAITING, PRUNE, SLOTS[2]), "the prune waits")
        assert fleet.send(PRUNE, dry_run=True).get(timeout=30)["would_delete"] == []
        assert not waiting.ready()
    assert waiting.get(timeout=30)["outcome"] == "ok"
