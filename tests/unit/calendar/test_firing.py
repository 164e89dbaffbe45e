"""Precedence, and what is owed after an absence."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.calendar.cadence import Cadence, Daily, EveryMinutes, EverySeconds, Monthly, Weekday, Weekly
from g3zkp_maint.calendar.entry import CalendarEntry, Missed
from g3zkp_maint.calendar.firing import (
    CATCH_UP_LIMIT,
    DuePlan,
    firings,
    missed_slots,
    next_slot,
    slot_before,
    superseded_by,
)
from g3zkp_maint.errors import BadInput

DAILY, WEEKLY, MONTHLY = Daily(time(2)), Weekly(Weekday.SUNDAY, time(2)), Monthly(1, time(2))
moments = st.datetimes(
    datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2099-01-01"), timezones=st.just(UTC)
)


def entry(name: str, cadence: Cadence, **more: object) -> CalendarEntry:
    return CalendarEntry(name=name, task="backup.run", cadence=cadence, why="a test", **more)  # type: ignore[arg-type]


THREE = (entry("daily", DAILY), entry("weekly", WEEKLY), entry("monthly", MONTHLY))


def owed(one: CalendarEntry, last: datetime, now: datetime, *others: CalendarEntry) -> DuePlan | None:
    return missed_slots((one, *others), one, last=last, now=now, starting_deadline_seconds=3600)


# -- precedence --------------------------------------------------------------------------------------------------------


@given(moments)
def test_in_any_year_each_slot_of_a_group_runs_exactly_one_and_that_the_rarest(start: datetime) -> None:
    found = firings(THREE, start, start + timedelta(days=366))
    for slot, group in groupby(found, key=lambda one: one.slot):
        there = list(group)
        running = [one.entry.name for one in there if one.superseded_by is None]
        rarest = "monthly" if slot.day == 1 else "weekly" if slot.isoweekday() == 7 else "daily"
        assert running == [rarest]
        assert all(one.superseded_by.name == rarest for one in there if one.superseded_by is not None)


cadences = st.sampled_from(
    [DAILY, WEEKLY, MONTHLY, EveryMinutes(30), EveryMinutes(60), Daily(time(3)), Monthly(2, time(2))]
)


@given(
    st.lists(st.tuples(cadences, st.none() | st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=6), moments
)
def test_whatever_the_ranks_exactly_one_of_a_group_runs_in_a_slot(
    drawn: list[tuple[Cadence, int | None, str]], start: datetime
) -> None:
    calendar = [entry(f"e{i}", cadence, rank=rank, group=group) for i, (cadence, rank, group) in enumerate(drawn)]
    found = list(firings(calendar, start, start + timedelta(days=40)))
    assert [one.slot for one in found] == sorted(one.slot for one in found)
    taken = {(one.slot, one.entry.group) for one in found}
    running = [(one.slot, one.entry.group) for one in found if one.superseded_by is None]
    assert sorted(running) == sorted(taken)  # type: ignore[type-var]


def test_groups_do_not_take_slots_from_each_other() -> None:
    calendar = (entry("scan", DAILY, group="scan"), entry("audit", MONTHLY, group="audit"))
    day = datetime(2026, 11, 1, tzinfo=UTC)
    assert [one.superseded_by for one in firings(calendar, day, day + timedelta(days=1))] == [None, None]


def test_a_named_rank_goes_over_the_cadence() -> None:
    calendar = (entry("daily", DAILY, rank=9), entry("weekly", WEEKLY))
    winner = superseded_by(calendar, calendar[1], datetime(2026, 11, 1, 2, tzinfo=UTC))
    assert winner is calendar[0]


def test_the_end_of_a_span_belongs_to_the_next_one() -> None:
    start = datetime(2026, 11, 3, 2, tzinfo=UTC)
    assert [one.slot for one in firings(THREE[:1], start, start + timedelta(days=1))] == [start]


def test_leaving_entries_out_of_a_listing_changes_no_precedence() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    everything = list(firings(THREE, start, start + timedelta(days=60)))
    daily = list(firings(THREE, start, start + timedelta(days=60), only=THREE[:1]))
    assert daily == [one for one in everything if one.entry is THREE[0]]


# -- what is owed ------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
TWO = NOON.replace(hour=2)


def test_nothing_is_owed_before_the_next_slot_or_with_a_clock_set_back() -> None:
    daily = entry("daily", DAILY)
    assert owed(daily, TWO, NOON) is None
    assert owed(daily, TWO, TWO - timedelta(days=3)) is None


def test_an_entry_seen_first_at_its_very_slot_still_owes_it() -> None:
    daily = entry("daily", DAILY)
    plan = owed(daily, slot_before(daily, TWO), TWO)
    assert plan is not None
    assert [one.slot for one in plan.firings] == [TWO]
    assert owed(daily, slot_before(daily, NOON), NOON) is None


@pytest.mark.parametrize("missed", ["once", "skip", "catch_up"])
def test_a_single_slot_on_time_runs_under_every_policy_and_is_not_called_missed(missed: Missed) -> None:
    plan = owed(entry("daily", DAILY, missed=missed), TWO - timedelta(days=1), TWO + timedelta(seconds=5))
    assert plan is not None
    assert [one.slot for one in plan.firings] == [TWO]
    assert (plan.dropped, plan.was_missed, plan.newest) == (0, False, TWO)


@pytest.mark.parametrize(
    ("missed", "hours_late", "runs", "dropped"),
    [("once", 10, 1, 4), ("skip", 10, 0, 5), ("skip", 0.5, 1, 4), ("catch_up", 10, 5, 0)],
)
def test_five_missed_slots_by_policy(missed: Missed, hours_late: float, runs: int, dropped: int) -> None:
    last = TWO - timedelta(days=5)
    plan = owed(entry("daily", DAILY, missed=missed), last, TWO + timedelta(hours=hours_late))
    assert plan is not None
    assert [one.slot for one in plan.firings] == [TWO - timedelta(days=i) for i in reversed(range(runs))]
    assert (plan.dropped, plan.was_missed, plan.newest) == (dropped, True, TWO)
    assert plan.first_dropped == (last + timedelta(days=1) if dropped else None)


def test_catching_up_has_a_limit_and_says_what_it_dropped() -> None:
    plan = owed(entry("beep", EverySeconds(2), missed="catch_up"), NOON - timedelta(days=365), NOON)
    assert plan is not None
    assert len(plan.firings) == CATCH_UP_LIMIT
    assert plan.dropped == 365 * 43_200 - CATCH_UP_LIMIT
    assert plan.firings[-1].slot == plan.newest == NOON


def test_a_missed_slot_that_another_took_does_not_run() -> None:
    monday = datetime(2026, 11, 2, 1, tzinfo=UTC)
    plan = owed(THREE[0], monday - timedelta(days=3), monday, THREE[1])
    assert plan is not None
    assert [one.superseded_by for one in plan.firings] == [THREE[1]]


@given(
    st.sampled_from([DAILY, WEEKLY, MONTHLY, EveryMinutes(5)]), moments, st.lists(st.integers(0, 10_000), max_size=20)
)
def test_however_often_it_is_asked_catching_up_gives_each_slot_once(
    cadence: Cadence, start: datetime, steps: list[int]
) -> None:
    one = entry("e", cadence, missed="catch_up")
    last = now = next_slot(one, start)
    found = []
    for minutes in steps:
        now += timedelta(minutes=minutes)
        plan = owed(one, last, now)
        if plan is not None and plan.dropped == 0:
            found += [firing.slot for firing in plan.firings]
        elif plan is not None:
            return
        last = plan.newest if plan else last
    everything = firings([one], next_slot(one, start) + timedelta(seconds=1), now + timedelta(microseconds=1))
    assert found == [firing.slot for firing in everything]


# -- entries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "With Capitals"},
        {"task": "backup"},
        {"kwargs": {"slot": "x"}},
        {"soft_limit_seconds": 5},
        {"soft_limit_seconds": 6, "hard_limit_seconds": 5},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_an_entry_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"name": "e", "task": "backup.run", "cadence": DAILY, "why": ""}
    with pytest.raises(BadInput, match="calendar entry"):
        CalendarEntry(**(fields | wrong))  # type: ignore[arg-type]
