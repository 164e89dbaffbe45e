from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telling import SUNDAY, Told

from beat_schedule import CALENDAR, UPKEEP
from g3zkp_maint.errors import BadInput
from g3zkp_maint.explain.answer import Answer, Verdict, explain

EVERYTHING = (*CALENDAR, *UPKEEP)
LATER = SUNDAY + timedelta(hours=1)


def why(told: Told, task: str = "backup.run", slot: str = "2026-11-22T02:00", now: datetime = LATER) -> Answer:
    return explain(task, slot, told.records(), EVERYTHING, now, begins=SUNDAY - timedelta(days=30))


def begun() -> Told:
    return (
        Told()
        .beat("superseded", "backup-incremental", by="backup-full")
        .beat("published", "backup-full")
        .add("started")
    )


def test_a_run_that_is_done_tells_when_how_long_and_what_came_before() -> None:
    found = why(Told().beat("published", "backup-full").waits(3).add("started").add("finished", outcome="ok"))
    assert (found.verdict, found.entry, found.run, found.seconds) == (Verdict.DONE, "backup-full", "r1", 420)
    assert "waited for a lease before (3 tries)" in found.why
    assert [line.text.split(":")[0] for line in found.story] == [
        "backup-full",
        "found no lease, 3 times, the last time at 2026-11-22 02",
        "start 4 by backup@vm",
        "finished ok",
    ]
    assert (found.last_due, found.next_due) == ("2026-11-21T02:00Z", "2026-11-23T02:00Z")


def test_a_partial_run_is_called_so_and_where_to_look_is_told() -> None:
    found = why(begun().add("finished", outcome="partial"))
    assert found.verdict is Verdict.PARTIAL
    assert "runs show r1" in found.todo


def test_a_failed_run_tells_code_step_and_how_to_try_again() -> None:
    told = (
        begun()
        .add("started", step="seal")
        .add("failed", step="seal", outcome="store-full", detail={"error": "no room"})
    )
    found = why(told.add("failed", outcome="store-full", detail={"error": "no room"}))
    assert found.verdict is Verdict.FAILED
    assert "in the step seal with store-full: no room" in found.why
    assert "`g3zkp-maint runs reset backup.run 2026-11-22T02:00Z`" in found.todo


def test_a_failure_of_a_step_that_was_made_good_is_not_blamed() -> None:
    told = begun().add("started", step="a").add("failed", step="a", outcome="x").add("waiting", outcome="x")
    found = why(told.add("started").add("failed", outcome="lease-busy", detail={"error": "gave up after waiting"}))
    assert "in the step" not in found.why


def test_a_run_that_waits_for_a_lease_tells_which_who_holds_it_and_when_it_tries_again() -> None:
    found = why(Told().waits(2), now=SUNDAY + timedelta(minutes=5))
    assert found.verdict is Verdict.WAITING_FOR_LEASE
    assert "the lease on data, held by crypto.restore:r9, since 2026-11-22 02:00:00Z (2 tries)" in found.why
    assert "tried again at 2026-11-22 02:30:00Z" in found.why


def test_a_run_whose_next_try_is_past_says_that_nobody_took_it_up() -> None:
    assert "a worker that is free takes it up" in why(Told().waits()).why


def test_a_run_that_failed_for_now_tells_why() -> None:
    told = begun().add("waiting", outcome="store-unavailable", detail={"error": "503", "next_try": ""})
    found = why(told)
    assert (found.verdict, "store-unavailable: 503" in found.why) == (Verdict.WAITING, True)


def test_a_run_under_way_tells_who_since_when_and_at_which_steps() -> None:
    found = why(
        begun().add("started", step="ipfs.000").add("started", step="ipfs.001").add("finished", step="ipfs.000")
    )
    assert found.verdict is Verdict.RUNNING
    assert found.why.endswith("at: ipfs.001 since 2026-11-22 02:04:00Z")


def test_a_run_whose_worker_died_says_so_and_that_it_was_given_out_again() -> None:
    told = begun().add("requeued", owner="reaper", detail={"error": "attempt 1 by backup@vm died"})
    found = why(told)
    assert found.verdict is Verdict.GIVEN_OUT_AGAIN
    assert "attempt 1 by backup@vm died" in found.why
    done = why(told.add("started").add("finished", outcome="ok"))
    assert (done.verdict, "attempt 1 by backup@vm died" in done.why) == (Verdict.DONE, True)


def test_a_run_given_up_after_its_worker_died_too_often_is_failed() -> None:
    told = begun().add("requeued").add("started").add("requeued").add("started")
    found = why(told.add("failed", owner="reaper", outcome="run-exhausted", detail={"error": "given up"}))
    assert (found.verdict, "its worker died 2 times" in found.why) == (Verdict.FAILED, True)


def test_a_failed_run_that_an_operator_reset_is_given_out_again() -> None:
    found = why(begun().add("failed", outcome="x").add("reset", owner="operator"))
    assert (found.verdict, "an operator" in found.why) == (Verdict.GIVEN_OUT_AGAIN, True)


@pytest.mark.parametrize(
    ("outcome", "verdict"), [("outside-window", Verdict.OUTSIDE_WINDOW), ("held-back", Verdict.HELD_BACK)]
)
def test_a_run_without_leave_to_start_tells_the_next_window(outcome: str, verdict: Verdict) -> None:
    told = Told(task="crypto.rotate_keys", slot="2026-11-22T03:00Z").add("started")
    told.add("started", step="window")
    told.add("failed", step="window", outcome=outcome, detail={"leave": "refused", "next_start": "2026-11-29T03:00:00"})
    found = why(told.add("failed", outcome=outcome), "crypto.rotate_keys", "2026-11-22T03:00")
    assert (found.verdict, "begins at 2026-11-29T03:00:00" in found.why) == (verdict, True)


# -- what did not run ------------------------------------------------------------------------------------------------------


def test_an_entry_that_gave_way_names_who_ran_and_what_became_of_that() -> None:
    found = why(begun().add("finished", outcome="ok"), "backup-incremental")
    assert (found.verdict, found.entry) == (Verdict.SUPERSEDED, "backup-incremental")
    assert "gave way to backup-full (Sunday 02:00)" in found.why
    assert found.why.endswith("that one: done")


def test_asked_for_the_task_the_one_that_ran_is_told_and_the_other_named() -> None:
    found = why(begun().add("finished", outcome="ok"))
    assert (found.verdict, found.entry) == (Verdict.DONE, "backup-full")
    assert "backup-incremental: gave way to backup-full" in [line.text for line in found.story]


def test_a_time_that_is_no_slot_tells_those_around_it() -> None:
    found = why(Told(), slot="2026-11-22T05:00")
    assert (found.verdict, found.last_due, found.next_due) == (
        Verdict.NOT_DUE,
        "2026-11-22T02:00Z",
        "2026-11-23T02:00Z",
    )
    assert "daily 02:00" in found.why


def test_a_slot_to_come_is_due_later() -> None:
    found = why(Told(), slot="2026-11-23T02:00")
    assert (found.verdict, found.why) == (Verdict.DUE_LATER, "backup-incremental is due then, in 23h00m")


def test_what_was_sent_and_not_begun_waits_in_its_queue() -> None:
    found = why(Told().beat("published", "backup-full"))
    assert (found.verdict, "the queue backup" in found.why) == (Verdict.QUEUED, True)


def test_a_check_that_nobody_took_in_time_was_skipped() -> None:
    told = Told(task="observe.health", slot="2026-11-22T02:05Z").beat("published", "health")
    found = why(told, "observe.health", "2026-11-22T02:05", now=SUNDAY + timedelta(hours=1))
    assert (found.verdict, "within 240 s" in found.why) == (Verdict.EXPIRED, True)
    soon = why(told, "observe.health", "2026-11-22T02:05", now=SUNDAY + timedelta(minutes=6))
    assert soon.verdict is Verdict.QUEUED


def missed(first: str, **facts: object) -> Told:
    told = Told(slot="2026-11-24T02:00Z")
    return told.beat("missed", "backup-incremental", policy="once", dropped=1, first_dropped=first, **facts)


def test_a_slot_that_beat_gave_up_tells_the_policy_and_what_ran_instead() -> None:
    run = {"runs": 1, "first_run": "2026-11-24T02:00Z", "last_run": "2026-11-24T02:00Z"}
    found = why(missed("2026-11-23T02:00Z", **run), slot="2026-11-23T02:00", now=SUNDAY + timedelta(days=3))
    assert found.verdict is Verdict.MISSED
    assert "`once` (only the newest missed slot runs); 2026-11-24T02:00Z ran in its place" in found.why


@pytest.mark.parametrize("slot", ["2026-11-21T02:00", "2026-11-25T02:00"])
def test_a_slot_outside_of_what_was_given_up_is_not_called_missed(slot: str) -> None:
    found = why(missed("2026-11-23T02:00Z"), slot=slot, now=SUNDAY + timedelta(days=5))
    assert (found.verdict, "no beat has led" in found.why) == (Verdict.UNKNOWN, True)


def test_a_slot_from_before_the_journal_is_unknown() -> None:
    found = why(Told(), slot="2025-11-22T02:00")
    assert (found.verdict, "reaches back to 2026-10-23" in found.why) == (Verdict.UNKNOWN, True)


def test_what_keeps_no_records_is_said_to() -> None:
    assert why(Told(), "observe.reap", "2026-11-22T02:00:30").verdict is Verdict.UNRECORDED


# -- what is asked ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "slot", "means"),
    [
        ("backup.run", "2026-11-22T02:00Z", "2026-11-22T02:00Z"),
        ("backup.run", "2026-11-22 02:00", "2026-11-22T02:00Z"),
        ("backup.run", "2026-11-22T02:00:00", "2026-11-22T02:00Z"),
        ("backup-full", "2026-11-22", "2026-11-22T02:00Z"),
        ("backup.run", "latest", "2026-11-22T02:00Z"),
        ("observe.reap", "2026-11-22T02:00:30", "2026-11-22T02:00:30Z"),
    ],
)
def test_a_slot_may_be_written_as_people_do(task: str, slot: str, means: str) -> None:
    assert why(Told(), task, slot).slot == means


def test_a_run_by_hand_is_found_by_its_own_slot() -> None:
    told = Told(slot="before-the-move").add("started").add("finished", outcome="ok")
    assert why(told, slot="before-the-move").verdict is Verdict.DONE


def test_a_task_that_is_on_no_calendar_is_told_from_its_records() -> None:
    told = Told(task="crypto.restore", slot="r7").add("started").add("finished", outcome="ok")
    assert why(told, "crypto.restore", "r7").verdict is Verdict.DONE


@pytest.mark.parametrize(
    ("task", "slot", "told"),
    [
        (
            "backup.run",
            "last sunday",
            r"'last sunday' is no slot.*the last one is 2026-11-22T02:00Z, the next 2026-11-23",
        ),
        ("backup.run", "2026-13-01T02:00", "is no time"),
        ("observe.health", "2026-11-22", "several slots on 2026-11-22: 2026-11-22T00:00Z, 2026-11-22T00:05Z"),
        ("backup.runn", "2026-11-22T02:00", r"no such task; it has backup\.run"),
        ("crypto.restore", "latest", "not on the calendar"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(task: str, slot: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        why(Told(), task, slot)


moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
words = st.sampled_from(["started", "finished", "failed", "waiting", "requeued", "reset", "superseded", "note"])


@given(st.sampled_from([one.name for one in EVERYTHING]), moments, moments)
def test_without_any_record_no_slot_is_said_to_have_run(name: str, moment: datetime, now: datetime) -> None:
    at = moment.replace(second=0, microsecond=0)
    found = explain(name, f"{at:%Y-%m-%dT%H:%M}", [], EVERYTHING, now)
    entry = next(one for one in EVERYTHING if one.name == name)
    assert (found.verdict is Verdict.NOT_DUE) == (not entry.fires_at(at))
    assert found.verdict not in {Verdict.DONE, Verdict.FAILED, Verdict.RUNNING, Verdict.MISSED}


@given(st.lists(st.tuples(words, st.sampled_from(["", "a"])), max_size=12))
def test_any_story_has_an_answer_in_the_order_of_time(told: list[tuple[str, str]]) -> None:
    story = Told()
    for word, step in told:
        story.add(word, step=step)
    found = why(story)
    assert found.why
    assert [line.at for line in found.story] == sorted(line.at for line in found.story)
