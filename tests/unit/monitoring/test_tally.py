"""What the journal comes to."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import CALENDAR, SUNDAY, records, run, step, tally_of

from g3zkp_maint.coordination.journal import JournalEvent
from g3zkp_maint.health.check import EndpointReport, HealthReport
from g3zkp_maint.health.instances import WholeReport
from g3zkp_maint.health.state import Level
from g3zkp_maint.metrics.tally import (
    AUDIT,
    HEALTH,
    LOOK,
    MOST_CODES,
    MOST_OPEN,
    MOST_TASKS,
    OTHER,
    PATHS,
    STATES,
    MessengerTally,
    Tally,
)
from g3zkp_maint.operations.health import latencies_ms

LATER = SUNDAY + timedelta(hours=1)


def test_runs_are_counted_by_outcome_and_failures_by_code() -> None:
    task = tally_of(
        *run("cleanup.run"), *run("cleanup.run", "partial"), *run("cleanup.run", "store-unavailable", at=LATER)
    ).tasks["cleanup.run"]
    assert task.outcomes == {"ok": 1, "partial": 1, "failed": 1}
    assert task.codes == {"store-unavailable": 1}
    assert task.last_ok is False
    assert task.succeeded_at == (SUNDAY + timedelta(seconds=60)).timestamp()


def test_a_run_that_is_started_again_takes_from_its_first_start() -> None:
    started, finished = run("cleanup.run", seconds=300)
    again = JournalEvent("started", started.run, started.task, started.slot, at=SUNDAY + timedelta(seconds=200))
    task = tally_of(started, again, finished).tasks["cleanup.run"]
    assert (task.timed, task.seconds) == (1, 300)


def test_a_run_whose_start_is_not_in_the_journal_counts_and_has_no_duration() -> None:
    task = tally_of(run("cleanup.run")[1]).tasks["cleanup.run"]
    assert (task.outcomes, task.timed) == ({"ok": 1}, 0)


def test_the_full_backup_of_a_sunday_serves_the_incremental_one_too() -> None:
    entries = tally_of(*run("backup.run", at=SUNDAY)).entries
    assert entries["backup-full"].succeeded_at == entries["backup-incremental"].succeeded_at > 0
    assert entries["backup-full"].seconds == 60
    assert entries["backup-incremental"].seconds is None, "it did not run"


def test_a_partial_run_is_no_success_of_its_entry() -> None:
    assert tally_of(*run("backup.run", "partial")).entries["backup-full"].succeeded_at == 0


def test_a_run_that_was_skipped_is_no_failure_and_no_success() -> None:
    task = tally_of(*run("crypto.drill", "key-material"), *run("crypto.drill", "skipped", at=LATER)).tasks[
        "crypto.drill"
    ]
    assert task.outcomes == {"failed": 1, "skipped": 1}
    assert (task.last_ok, task.succeeded_at) == (None, 0)


def test_of_each_store_the_last_reread_says_how_much_is_late() -> None:
    def found(task: str, overdue: int) -> JournalEvent:
        return JournalEvent("finished", "r", task, "s", "reread", at=SUNDAY, detail={"overdue": overdue})

    tally = tally_of(found("backup.reread", 3), found("backup.reread_second", 2), found("backup.reread", 0))
    assert tally.reread_overdue == {"backup.reread": 0, "backup.reread_second": 2}
    kept = Tally.from_json(json.loads(json.dumps(tally.as_json())))
    assert kept is not None
    assert kept.reread_overdue == tally.reread_overdue


def test_the_messenger_is_in_the_state_of_the_last_look_since_the_first_that_said_so() -> None:
    def look(state: str, minutes: int, **took: int | str) -> JournalEvent:
        at = SUNDAY + timedelta(minutes=minutes)
        return JournalEvent("finished", "r", HEALTH, "s", LOOK, at=at, detail={"state": state, **took})

    assert tally_of(step("backup.run", "check", state="down")).messenger.state == ""
    tally = tally_of(
        look("healthy", 0, health_ms=5), look("down", 5), look("down", 10, health_ms=20, ready_ms="x"), look("gone", 15)
    )
    down_at, last = ((SUNDAY + timedelta(minutes=minutes)).timestamp() for minutes in (5, 10))
    assert tally.messenger == MessengerTally("down", down_at, last, {"health": 0.02})
    kept = Tally.from_json(json.loads(json.dumps(tally.as_json())))
    assert kept is not None
    assert kept.messenger == tally.messenger


def test_states_and_paths_are_those_of_the_health_check() -> None:
    assert [str(level) for level in Level] == list(STATES)
    paths = tuple(EndpointReport(f"/{path}", None, 200, 0.0125, 1) for path in PATHS)
    told = latencies_ms(WholeReport(1, HealthReport("http://m", paths), ()))
    assert {f"{path}_ms" for path in PATHS} | {"slowest_ms"} == told.keys()


def test_what_gave_way_and_what_was_missed_is_counted_where_it_belongs() -> None:
    gave_way = JournalEvent("superseded", "r", "backup.run-incremental", "2026-11-22T02:00Z", at=SUNDAY)
    missed = JournalEvent(
        "missed", "health:…", "observe.health", "2026-11-22T02:00Z", at=SUNDAY, detail={"entry": "health", "dropped": 3}
    )
    found = tally_of(gave_way, missed)
    assert found.tasks["backup.run"].outcomes == {"superseded": 1}
    assert found.entries["health"].missed == 3


@pytest.mark.parametrize(
    ("event", "bytes"),
    [
        (step("backup.run", "archive", 10), {"stored": 10}),
        (step("backup.run", "verify-full", 10), {"read": 10}),
        (step("backup.run", "verify-quick", 10), {}),
        (step("backup.prune", "sweep", 10), {"freed": 10}),
        (step("crypto.restore", "files", 10), {"read": 10}),
        (step("backup.reread_second", "reread", 10), {"read": 10}),
        (step("backup.prune_second", "prune", 10), {"freed": 10}),
        (step("observe.health", "check"), {}),
    ],
    ids=lambda one: one.step if isinstance(one, JournalEvent) else "",
)
def test_bytes_are_counted_as_what_they_are(event: JournalEvent, bytes: dict[str, int]) -> None:
    assert tally_of(event).tasks[event.task].bytes == bytes


def test_lost_leases_audits_and_rotations_are_told() -> None:
    found = tally_of(
        step("backup.run", "archive", event="lease-lost"),
        *run(AUDIT, "partial"),
        step("crypto.rotate_keys", "commit", signing_key="abc", unrelated="x"),
    )
    assert found.tasks["backup.run"].leases_lost == 1
    assert found.audit_passed is False
    assert found.rotated == {"signing": SUNDAY.timestamp()}


def test_however_much_a_journal_holds_there_are_few_series() -> None:
    found = tally_of(
        *(event for number in range(200) for event in run(f"made.up{number}")),
        *(event for number in range(100) for event in run("cleanup.run", f"code-{number}")),
        *(run("observe.health", at=SUNDAY + timedelta(minutes=number))[0] for number in range(MOST_OPEN + 10)),
    )
    assert len(found.tasks) == MOST_TASKS + 1
    assert sum(task.outcomes.get("ok", 0) for task in found.tasks.values()) == 200
    assert all(len(task.codes) <= MOST_CODES + 1 for task in found.tasks.values())
    assert found.tasks[OTHER].outcomes["ok"] == 200 - MOST_TASKS
    assert len(found.open) == MOST_OPEN


_EVENTS = st.sampled_from(
    [
        *run("backup.run"),
        *run("backup.run", "store-unavailable", at=LATER),
        *run("observe.health", at=LATER),
        *run(AUDIT),
        step("backup.run", "archive", 5),
        step("backup.run", "archive", event="lease-lost"),
        step("crypto.rotate_keys", "commit", signing_key="abc"),
    ]
)


@given(st.lists(_EVENTS, max_size=30), st.integers(0, 30))
def test_a_tally_that_was_kept_goes_on_as_one_that_never_stopped(events: list[JournalEvent], cut: int) -> None:
    first, rest = Tally(), list(records(events))
    for record in rest[:cut]:
        first.fold(record, CALENDAR)
    taken_up = Tally.from_json(json.loads(json.dumps(first.as_json())))
    assert taken_up is not None
    for record in rest[cut:]:
        taken_up.fold(record, CALENDAR)
    assert taken_up == tally_of(*events)


def test_a_tally_of_another_version_is_not_used() -> None:
    assert Tally.from_json({**Tally().as_json(), "version": 0}) is None
