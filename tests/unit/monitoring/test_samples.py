"""What the exporter tells of tasks and entries, by the time of the scrape."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from recorded import CALENDAR, SUNDAY, run, step, tally_of

from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.coordination.journal import JournalEvent
from g3zkp_maint.metrics.facts import Facts
from g3zkp_maint.metrics.samples import FOLLOWS_BACKUP, Known, samples
from g3zkp_maint.metrics.tally import Tally
from g3zkp_maint.operations.backup import followups
from g3zkp_maint.settings import SecondStore

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def told(tally: Tally, now: datetime) -> dict[tuple[str, ...], float]:
    known = Known(tally, None, Facts(), {}, CALENDAR, {}, now)
    return {(one.name.removeprefix("g3zkp_maint_"), *one.labels): one.value for one in samples(known)}


@pytest.mark.parametrize(
    ("task", "outcome"),
    [("crypto.restore", "partial"), ("crypto.restore", "outside-window"), ("backup.verify", "unknown-backup")],
)
def test_a_failure_that_nothing_will_repeat_is_told_for_a_day(task: str, outcome: str) -> None:
    tally = tally_of(*run(task, outcome))
    assert told(tally, SUNDAY + DAY)["task_last_run_ok", task] == 0
    later = told(tally, SUNDAY + DAY + 2 * MINUTE)
    assert ("task_last_run_ok", task) not in later
    assert later["runs_total", task, "partial" if outcome == "partial" else "failed"] == 1


@pytest.mark.parametrize("task", ["observe.weekly_report", *sorted(FOLLOWS_BACKUP)])
def test_a_failure_of_what_comes_again_by_itself_is_told_until_it_does(task: str) -> None:
    assert told(tally_of(*run(task, "store-unavailable")), SUNDAY + 6 * DAY)["task_last_run_ok", task] == 0


def test_what_follows_a_backup_is_known_to_come_again() -> None:
    second = SecondStore(kind="directory")
    found = followups({"name": "b", "type": BackupType.FULL}, "2026-11-22T02:00Z", second=second)
    assert {one.task for one in found} == FOLLOWS_BACKUP


def test_a_failure_whose_run_was_reset_is_told_no_more_and_that_of_another_run_is() -> None:
    failed = run("backup.run", "store-unavailable")

    def after(slot: str) -> dict[tuple[str, ...], float]:
        reset = JournalEvent("reset", "r", "backup.run", slot, at=SUNDAY + 5 * MINUTE)
        return told(tally_of(*failed, reset), SUNDAY + 10 * MINUTE)

    assert ("task_last_run_ok", "backup.run") not in after(failed[0].slot)
    assert after("2026-11-15T02:00Z")["task_last_run_ok", "backup.run"] == 0


def test_of_the_messenger_one_state_is_told_and_none_before_the_first_look() -> None:
    assert not [name for name, *_ in told(tally_of(*run("observe.health")), SUNDAY) if name.startswith("messenger_")]
    found = told(tally_of(step("observe.health", "check", state="degraded", health_ms=12)), SUNDAY)
    assert [found["messenger_state", one] for one in ("healthy", "degraded", "down")] == [0, 1, 0]
    assert found["messenger_state_since_timestamp_seconds",] == SUNDAY.timestamp()
    assert found["messenger_looked_timestamp_seconds",] == SUNDAY.timestamp()
    assert found["messenger_answer_seconds", "health"] == 0.012
