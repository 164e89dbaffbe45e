from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telling import Told

from g3zkp_maint.coordination.journal import JournalEvent
from g3zkp_maint.run_tree import Branch, run_tree


def tree(told: Told) -> tuple[Branch, ...]:
    return run_tree(told.events)


def shape(starts: tuple[Branch, ...]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    return [(one.name, one.how, [(step.name, step.how) for step in one.steps]) for one in starts]


def test_steps_are_below_the_start_that_took_them_with_times_bytes_and_outcome() -> None:
    told = Told().add("started").add("started", step="plan").add("finished", step="plan", outcome="ok", bytes=7)
    told.add("finished", outcome="ok")
    (start,) = tree(told)
    assert shape((start,)) == [("start 1", "finished", [("plan", "finished")])]
    assert (start.seconds, start.steps[0].seconds, start.steps[0].bytes) == (180, 60, 7)


def test_what_a_step_measured_itself_counts_more_than_the_times_of_its_records() -> None:
    told = Told().add("started").add("started", step="a").add("finished", step="a", detail={"seconds": 1.5, "x": 2})
    assert tree(told)[0].steps[0].seconds == 1.5
    assert tree(told)[0].steps[0].remarks == {"x": 2}


def test_a_step_that_was_tried_again_is_there_twice_and_the_failure_says_why() -> None:
    told = Told().add("started").add("started", step="ipfs.000", attempt=1)
    told.add("failed", step="ipfs.000", attempt=1, outcome="store-unavailable", detail={"error": "503"})
    told.add("started", step="ipfs.000", attempt=2).add("finished", step="ipfs.000", attempt=2, outcome="ok")
    first, second = tree(told)[0].steps
    assert (first.how, first.outcome, first.error, second.how) == ("failed", "store-unavailable", "503", "finished")


def test_steps_side_by_side_are_not_mixed_up() -> None:
    told = Told().add("started").add("started", step="a").add("started", step="b")
    told.add("finished", step="a", bytes=1).add("finished", step="b", bytes=2)
    assert [(one.name, one.bytes) for one in tree(told)[0].steps] == [("a", 1), ("b", 2)]


def test_waits_for_a_lease_are_one_branch_however_many_they_were() -> None:
    starts = tree(Told().waits(3).add("started").add("finished", outcome="ok"))
    assert [(one.name, one.tries) for one in starts] == [("waits", 3), ("start 4", 1)]
    assert starts[0].detail["holder"] == "crypto.restore:r9"


def test_a_start_whose_worker_died_has_died_and_the_next_one_goes_on() -> None:
    told = Told().add("started").add("started", step="a").add("requeued", detail={"error": "attempt 1 died"})
    told.add("started").add("finished", step="a").add("finished", outcome="ok")
    assert shape(tree(told)) == [
        ("start 1", "died", [("a", "")]),
        ("start 2", "finished", [("a", "finished")]),
    ]


@pytest.mark.parametrize("word", ["requeued", "reset"])
def test_a_run_given_out_again_without_a_start_is_a_branch_and_no_start(word: str) -> None:
    told = Told().add("started").add("failed", outcome="x").add(word).add("started")
    assert [(one.name, one.how) for one in tree(told)] == [
        ("start 1", "failed"),
        ("given out again", word),
        ("start 2", ""),
    ]


def test_a_step_of_a_canvas_that_goes_on_after_a_wait_has_a_start_of_its_own() -> None:
    told = Told().add("started").add("waiting", outcome="store-unavailable").add("started", step="seal")
    assert shape(tree(told)) == [("start 1", "waiting", []), ("start 2", "", [("seal", "")])]


words = st.sampled_from(
    ["started", "finished", "failed", "waiting", "requeued", "reset", "superseded", "note", "lease-lost"]
)


@given(st.lists(st.tuples(words, st.sampled_from(["", "a", "b"]))))
def test_whatever_the_records_are_every_step_is_told_once_and_in_order(told: list[tuple[str, str]]) -> None:
    story = Told()
    for word, step in told:
        story.add(word, step=step)
    starts = tree(story)
    begun = [event.at for event in story.events if event.step]
    steps = [step for start in starts for step in start.steps]
    ends = sum(event.event != "started" for event in story.events if event.step)
    assert len(steps) <= len(begun)
    assert sum(step.ended is not None for step in steps) == ends
    assert [one.began for one in starts] == sorted(one.began for one in starts)
    assert all(one.ended is not None for one in starts[:-1] if one.how)


def test_no_records_make_no_tree() -> None:
    assert run_tree([]) == ()
    assert run_tree([JournalEvent("note", "r", "t.t", "s")]) == ()
