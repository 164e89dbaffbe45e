"""How long work takes, from the journal: from leave to end, without what was waited for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from window_cases import MINUTE, SUNDAY

from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord
from g3zkp_maint.windows import words
from g3zkp_maint.windows.pace import RUNS, Past, expectation, past_runs

#: minute, event, leave ('' for an event of the run itself)
Line = tuple[float, str, str]


def records(*runs: tuple[Line, ...]) -> Iterator[JournalRecord]:
    numbers = count(1)
    for run, lines in enumerate(runs):
        for minute, event, leave in lines:
            step, detail = (words.STEP, {"leave": leave}) if leave else ("", {})
            at = SUNDAY + minute * MINUTE
            entry = JournalEvent(event, f"run-{run}", "crypto.rotate_keys", "s", step, at=at, detail=detail)
            yield JournalRecord("0-0", next(numbers), "", entry)


PLAIN: tuple[Line, ...] = ((0, "started", ""), (1, "finished", "window"), (4, "finished", ""))


@pytest.mark.parametrize(
    ("lines", "past"),
    [
        (PLAIN, Past((180.0,))),
        (((0, "started", ""), (1, "finished", "forced"), (9, "failed", "")), Past((), (480.0,))),
        (((0, "started", ""), (4, "finished", "")), Past()),
        (((0, "started", ""), (1, "failed", "held"), (1, "waiting", ""), (2, "failed", "")), Past()),
        (
            (
                (0, "started", ""),
                (1, "finished", "window"),
                (2, "waiting", ""),
                (60, "started", ""),
                (61, "finished", ""),
            ),
            Past((120.0,)),
        ),
        # Killed: nobody tells when; counted is what the next attempt took.
        (((0, "started", ""), (1, "finished", "window"), (600, "started", ""), (602, "finished", "")), Past((120.0,))),
        (((0, "started", ""), (1, "finished", "window")), Past()),
    ],
    ids=["plain", "failed", "nothing to do", "refused", "waited between", "killed", "under way"],
)
def test_work_is_counted_from_leave_to_end(lines: tuple[Line, ...], past: Past) -> None:
    assert past_runs(records(lines)) == past


def test_only_the_newest_runs_count() -> None:
    slow: tuple[Line, ...] = ((0, "started", ""), (0, "finished", "window"), (99, "finished", ""))
    assert past_runs(records(slow, *[PLAIN] * RUNS)).finished == (180.0,) * RUNS


@pytest.mark.parametrize(
    ("past", "seconds", "basis"),
    [
        (Past(), 1000, "its limits"),
        (Past((), (10,)), 1000, "its limits"),
        (Past((), (2000,)), 2000, "as a failed run did"),
        (Past((60, 90)), 90, "the longest of 2 past runs"),
        (Past((60,), (300,)), 300, "the longest of 2 past runs"),
    ],
)
def test_the_longest_past_run_is_what_is_expected(past: Past, seconds: float, basis: str) -> None:
    assert expectation(past, first_seconds=1000, first_basis="its limits") == (seconds, basis)
