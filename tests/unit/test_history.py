from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord
from g3zkp_maint.history import RunLine, run_lines

START = datetime(2026, 11, 29, 2, tzinfo=UTC)


def records(*told: tuple[str, dict[str, object]]) -> list[JournalRecord]:
    """One record a minute; each is `(event, other fields)`."""
    made = []
    for number, (event, fields) in enumerate(told):
        given = {"run": "backup.run:s1", "task": "backup.run", "slot": "s1", **fields}
        made.append(
            JournalRecord(str(number), number, "", JournalEvent(event, at=START + timedelta(minutes=number), **given))
        )
    return made


def line(*told: tuple[str, dict[str, object]]) -> RunLine:
    (found,) = run_lines(records(*told))
    return found


def test_a_run_that_finished_tells_outcome_time_and_bytes_of_its_steps() -> None:
    found = line(
        ("started", {"attempt": 1}),
        ("started", {"step": "ipfs.000"}),
        ("finished", {"step": "ipfs.000", "bytes": 70, "outcome": "ok"}),
        ("finished", {"step": "keys.000", "bytes": 7, "outcome": "ok"}),
        ("finished", {"outcome": "ok", "attempt": 1}),
    )
    assert (found.state, found.outcome, found.seconds, found.bytes, found.attempts) == ("finished", "ok", 240, 77, 1)
    assert not found.is_failed


def test_bytes_of_the_run_itself_win_over_those_of_its_steps() -> None:
    assert line(("finished", {"step": "a", "bytes": 70}), ("finished", {"bytes": 80})).bytes == 80


@pytest.mark.parametrize(
    ("last", "state", "is_failed"),
    [
        (("failed", {"outcome": "store-full", "detail": {"error": "no room"}}), "failed", True),
        (("finished", {"outcome": "partial"}), "finished", True),
        (("superseded", {}), "superseded", False),
        (("waiting", {"outcome": "lease-busy"}), "waiting", False),
        (("note", {}), "running", False),
        (("failed", {"step": "seal", "outcome": "store-full"}), "running", False),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_the_last_event_of_the_run_itself_is_its_state(
    last: tuple[str, dict[str, object]], state: str, is_failed: bool
) -> None:
    found = line(("started", {}), last)
    assert (found.state, found.is_failed) == (state, is_failed)
    assert (found.outcome == "") == (state in {"running", "waiting", "superseded"})


def test_a_failed_run_tells_why() -> None:
    assert line(("failed", {"outcome": "store-full", "detail": {"error": "no room"}})).message == "no room"


def test_a_run_started_again_after_its_failure_is_running() -> None:
    found = line(("started", {"attempt": 1}), ("failed", {"outcome": "x"}), ("started", {"attempt": 2}))
    assert (found.state, found.outcome, found.attempts) == ("running", "", 2)


def test_a_run_whose_start_is_no_longer_in_the_journal_is_told_from_what_there_is() -> None:
    found = line(("finished", {"step": "seal", "bytes": 1}))
    assert (found.state, found.started) == ("running", START)


def test_runs_come_in_the_order_of_their_first_records() -> None:
    told = records(("started", {"run": "b"}), ("started", {"run": "a"}), ("finished", {"run": "b"}))
    assert [found.run for found in run_lines(told)] == ["b", "a"]


def test_that_a_message_was_sent_is_no_run() -> None:
    told = records(("published", {"run": "backup-full:s1"}), ("started", {}))
    assert [found.run for found in run_lines(told)] == ["backup.run:s1"]
