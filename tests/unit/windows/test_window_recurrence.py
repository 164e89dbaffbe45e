"""Recurring windows against dateutil, which shares no code with us."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from dateutil.rrule import MONTHLY, WEEKLY, rrule
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.settings.windows import RecurringWindow
from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.recurrence import starts

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
moments = st.datetimes(
    datetime.fromisoformat("1990-01-01"), datetime.fromisoformat("2090-01-01"), timezones=st.just(UTC)
)
times = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@st.composite
def recurring(draw: st.DrawFn) -> RecurringWindow:
    every = draw(st.sampled_from(("week", "month", "quarter")))
    weekday = draw(st.sampled_from(DAYS)) if every == "week" else None
    day = None if every == "week" else draw(st.integers(1, 28))
    return RecurringWindow(name="w", kind=Kind.MINOR, every=every, weekday=weekday, day=day, at=draw(times), minutes=30)


@given(recurring(), moments, st.integers(0, 800))
def test_a_window_recurs_just_when_its_rule_says(one: RecurringWindow, start: datetime, days: int) -> None:
    end = start + timedelta(days=days)
    by_time = {"byhour": one.at.hour, "byminute": one.at.minute, "bysecond": 0, "dtstart": start - timedelta(days=400)}
    if one.every == "week":
        assert one.weekday is not None
        rule = rrule(WEEKLY, byweekday=DAYS.index(one.weekday), **by_time)
    else:
        months = (1, 4, 7, 10) if one.every == "quarter" else None
        rule = rrule(MONTHLY, bymonthday=one.day, bymonth=months, **by_time)
    wanted = [moment.replace(microsecond=0) for moment in rule.between(start - timedelta(days=40), end, inc=True)]
    assert list(starts(one, start, end)) == [moment for moment in wanted if start <= moment < end]
