"""What follows a backup, as runs of their own."""

from __future__ import annotations

from g3zkp_maint.operations.backup import followups
from g3zkp_maint.settings import SecondStore

SLOT = "2026-03-08T02:00Z"
FULL = {"name": "g3zkp_full_20260308_020000", "type": "full"}
INCREMENTAL = {"name": "g3zkp_incremental_20260309_020000", "type": "incremental"}


def test_a_full_is_pruned_for_its_slot_and_drilled_under_its_own_name() -> None:
    assert followups(FULL, SLOT, second=SecondStore()) == (
        ("backup.prune", {"slot": SLOT}),
        ("crypto.drill", {"name": FULL["name"], "slot": FULL["name"]}),
    )


def test_an_incremental_is_not_drilled() -> None:
    assert [one.task for one in followups(INCREMENTAL, SLOT, second=SecondStore())] == ["backup.prune"]


def test_each_backup_is_copied_where_there_is_a_second_store() -> None:
    assert followups(INCREMENTAL, SLOT, second=SecondStore(kind="s3")) == (
        ("backup.prune", {"slot": SLOT}),
        ("backup.copy", {"name": INCREMENTAL["name"], "lacking": True, "slot": INCREMENTAL["name"]}),
        ("backup.prune_second", {"slot": SLOT}),
    )


def test_a_second_store_that_keeps_all_is_not_pruned() -> None:
    found = followups(INCREMENTAL, SLOT, second=SecondStore(kind="directory", prune=False))
    assert [one.task for one in found] == ["backup.prune", "backup.copy"]
