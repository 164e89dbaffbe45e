"""Whether work may start: only where it ends inside the open time; else held or refused, with the reason."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_cases import DAY, HOUR, MINUTE, NONE_RECUR, SUNDAY, WEEKLY, freeze, once, plan

from g3zkp_maint.settings import Windows
from g3zkp_maint.windows import words
from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.leave import Leave, Refusal, Work, heed, may_start, unheard
from g3zkp_maint.windows.spoken import shown

WAIT = 15 * MINUTE
DEFAULT = Windows()


def work(minutes: float) -> Work:
    return Work("rotating signing keys", minutes * 60, "a test")


def asked(minutes: float, now: datetime, settings: Windows = DEFAULT, *records: object) -> Leave | Refusal:
    found = plan(now, *records, settings=settings)  # type: ignore[arg-type]
    return may_start(work(minutes), found, now, wait=WAIT, freezes=settings.freezes)


@pytest.mark.parametrize(
    ("minutes", "after", "leave", "cause", "retry"),
    [
        (17.5, 0, words.WINDOW, None, None),
        (30, 0, words.WINDOW, None, None),
        (30.1, 0, words.REFUSED, words.TOO_SHORT, None),
        (17.5, 12.5, words.WINDOW, None, None),
        (17.5, 12.6, words.REFUSED, words.TOO_SHORT, None),
        (1, 30, words.REFUSED, words.NONE_OPEN, None),
        (1, -14.5, words.HELD, words.SOON, 870),
        (1, -16, words.REFUSED, words.NONE_OPEN, None),
        (31, -14, words.REFUSED, words.NONE_OPEN, None),
    ],
    ids=str,
)
def test_work_starts_only_where_the_weekly_window_holds_it(
    minutes: float, after: float, leave: str, cause: str | None, retry: float | None
) -> None:
    found = asked(minutes, SUNDAY + after * MINUTE)
    facts = found.facts()
    assert (facts["leave"], facts.get("cause")) == (leave, cause)
    assert facts["expected_seconds"] == round(minutes * 60)
    if isinstance(found, Refusal):
        assert found.retry_seconds == retry
        assert "rotating signing keys" in found.why
    else:
        assert (found.window, found.until) == (WEEKLY, SUNDAY + 30 * MINUTE)


def test_a_refusal_names_the_next_window_that_is_long_enough() -> None:
    major = once(Kind.MAJOR, SUNDAY + 2 * DAY, 90)
    found = asked(45, SUNDAY, DEFAULT, major)
    assert isinstance(found, Refusal)
    assert found.facts()["next"] == major.id
    assert "may take 45 min" in found.why
    assert "ends in 30 min" in found.why
    assert f"the next that is long enough is {major.id}, Tue 1 Dec 2026, 03:00 UTC" in found.why


def test_windows_without_a_gap_between_them_count_as_one() -> None:
    first, second = once(Kind.MINOR, SUNDAY, 30), once(Kind.MAJOR, SUNDAY + 30 * MINUTE, 60)
    found = asked(80, SUNDAY + 5 * MINUTE, NONE_RECUR, first, second)
    assert isinstance(found, Leave)
    assert (found.window, found.until) == (first.id, SUNDAY + 90 * MINUTE)
    gap = once(Kind.MAJOR, SUNDAY + 31 * MINUTE, 60)
    assert isinstance(asked(80, SUNDAY + 5 * MINUTE, NONE_RECUR, first, gap), Refusal)


def test_on_frozen_days_it_is_the_freeze_that_is_named() -> None:
    found = asked(1, SUNDAY, Windows(freezes=(freeze(SUNDAY),)))
    assert isinstance(found, Refusal)
    assert (found.cause, found.retry_seconds) == (words.FROZEN, None)
    assert "year's end" in found.why


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 60)), max_size=6),
    st.integers(-20, 170),
    st.integers(1, 100),
)
def test_leave_means_that_every_minute_of_the_work_lies_in_a_window(
    spans: list[tuple[int, int]], at: int, minutes: int
) -> None:
    records = [
        once(Kind.MAJOR, SUNDAY + start * MINUTE, length, suffix=f"{number:04d}")
        for number, (start, length) in enumerate(spans)
    ]
    now = SUNDAY + at * MINUTE
    found = plan(now, *records)
    answer = may_start(work(minutes), found, now, wait=WAIT)
    is_held = all(any(one.is_open(now + minute * MINUTE) for one in found) for minute in range(minutes))
    assert isinstance(answer, Leave) == is_held
    if isinstance(answer, Refusal) and answer.retry_seconds is not None:
        assert answer.following is not None
        later = now + timedelta(seconds=answer.retry_seconds)
        assert later - now <= WAIT
        assert isinstance(may_start(work(minutes), plan(later, *records), later, wait=WAIT), Leave)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (50, "50 s"),
        (60, "1 min"),
        (61, "2 min"),
        (3900, "1 h 5 min"),
        (48 * 3600, "48 h"),
        (7 * 86400, "7 days"),
        (76 * 3600, "3 days 4 h"),
        (-5, "0 s"),
    ],
)
def test_lengths_are_told_in_the_units_that_people_use(length: int, text: str) -> None:
    assert shown(timedelta(seconds=length)) == text


# -- alerts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "retry"), [(30 * MINUTE, 300), (10 * MINUTE, 300), (10 * MINUTE - HOUR / 3600, None)])
def test_alerts_hold_work_back_as_long_as_it_would_still_end_in_time(left: timedelta, retry: float | None) -> None:
    leave = Leave(work(5), WEEKLY, SUNDAY + left)
    held = heed(leave, SUNDAY, firing=("G3ZKPHighErrorRate", "G3ZKPHighLatency"))
    assert isinstance(held, Refusal)
    assert (held.cause, held.retry_seconds) == (words.ALERT, retry)
    assert held.facts()["alerts"] == "G3ZKPHighErrorRate,G3ZKPHighLatency"
    assert "while G3ZKPHighErrorRate, G3ZKPHighLatency fire" in held.why


def test_where_no_alert_fires_leave_stays() -> None:
    leave = Leave(work(5), WEEKLY, SUNDAY + HOUR)
    assert heed(leave, SUNDAY, firing=()) is leave


def test_where_nobody_can_tell_work_is_held_unless_the_settings_say_otherwise() -> None:
    leave = Leave(work(5), WEEKLY, SUNDAY + HOUR)
    held = unheard(leave, SUNDAY, error="no answer", goes_on=False)
    assert isinstance(held, Refusal)
    assert (held.cause, held.retry_seconds) == (words.ALERTS_UNKNOWN, 300)
    assert unheard(leave, SUNDAY, error="no answer", goes_on=True) is leave
