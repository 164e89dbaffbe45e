"""Rotations as the journal tells of them; and that what the messenger throws shows no key."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord
from g3zkp_maint.rotation.history import TASK, turns
from g3zkp_maint.rotation.question import shown

AT = datetime(2026, 11, 25, 3, tzinfo=UTC)
COMMIT = JournalEvent(
    "finished",
    "run",
    TASK,
    "2026-11-25T03:00Z",
    "commit",
    at=AT,
    detail={"signing_key": "b", "signing_former": "a", "session_key": "d", "begun_by": "2026-11-25T03:00Z"},
)


def records(*events: JournalEvent) -> list[JournalRecord]:
    return [JournalRecord(str(number), number, "", event) for number, event in enumerate(events)]


def test_each_key_of_a_rotation_is_a_turn() -> None:
    signing, session = turns(records(COMMIT))
    assert (signing.type, signing.key_id, signing.former_id, signing.outcome) == ("signing", "b", "a", "rotated")
    assert (session.type, session.key_id, session.former_id) == ("session", "d", None)
    assert turns(records(COMMIT), type="session") == [session]


def test_what_a_run_tells_again_is_one_turn_and_what_did_not_end_is_none() -> None:
    again = replace(COMMIT, at=AT.replace(hour=4))
    assert [turn.at for turn in turns(records(COMMIT, again))] == [AT, AT]
    assert turns(records(replace(COMMIT, event="started"), replace(COMMIT, event="failed"))) == []
    assert turns(records(replace(COMMIT, step="stage"), replace(COMMIT, task="backup.run"))) == []


def test_a_rotation_that_was_taken_back_says_why() -> None:
    undo = replace(COMMIT, step="undo", detail={"signing_key": "b", "why": "not ready", "begun_by": "manual-1"})
    (turn,) = turns(records(undo))
    assert (turn.outcome, turn.why, turn.slot) == ("taken back", "not ready", "manual-1")


@pytest.mark.parametrize(
    "key",
    [
        "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
        "8f14e45fceea167a5a36dedd4bea2543",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----",
        "redis://:hunter2@db:6379",
    ],
)
def test_what_could_be_a_key_is_masked_in_what_the_messenger_says(key: str) -> None:
    told = shown(f"cannot store\n {key} of type signing")
    assert "cannot store" in told
    assert "of type signing" in told
    assert "\n" not in told
    for part in key.replace("\n", " ").split():
        assert len(part) < 16 or part not in told
    assert "hunter2" not in told
