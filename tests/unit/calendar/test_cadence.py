"""Every cadence over 130 years, against oracles that share no code with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from g3zkp_maint.calendar.cadence import Cadence, Daily, EveryMinutes, EverySeconds, Monthly, Weekday, Weekly
from g3zkp_maint.errors import BadInput

START, END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 12, 31, 23, 59, 59, tzinfo=UTC)
DIVISORS = [n for n in range(1, 61) if 60 % n == 0]

moments = st.datetimes(
    datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2100-12-31"), timezones=st.just(UTC)
)
times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
cadences = st.one_of(
    st.builds(Daily, times),
    st.builds(Weekly, st.sampled_from(Weekday), times),
    st.builds(Monthly, st.integers(1, 28), times),
    st.builds(EveryMinutes, st.sampled_from(DIVISORS)),
    st.builds(EverySeconds, st.integers(1, 90_000)),
)


def is_due(cadence: Cadence, moment: datetime) -> bool:
    """Read off the wall: the fields of the moment, as a person would."""
    at = (moment.hour, moment.minute, moment.second)
    match cadence:
        case Daily(when):
            return at == (when.hour, when.minute, 0)
        case Weekly(weekday, when):
            return at == (when.hour, when.minute, 0) and moment.strftime("%A").upper() == weekday.name
        case Monthly(day, when):
            return at == (when.hour, when.minute, 0) and moment.day == day
        case EveryMinutes(minutes):
            return moment.minute % minutes == 0 and moment.second == 0
        case EverySeconds(seconds):
            return int(moment.timestamp()) % seconds == 0


@given(cadences, moments)
def test_the_latest_and_the_next_slot_enclose_every_moment(cadence: Cadence, moment: datetime) -> None:
    number = cadence.index(moment)
    assert cadence.at(number) <= moment < cadence.at(number + 1)


@given(cadences, moments)
def test_a_slot_and_its_number_tell_each_other(cadence: Cadence, moment: datetime) -> None:
    number = cadence.index(moment)
    assert cadence.index(cadence.at(number)) == number
    assert cadence.index(cadence.at(number) - timedelta(microseconds=1)) == number - 1
    assert is_due(cadence, cadence.at(number))
    assert cadence.at(number).tzinfo is UTC


@given(cadences, moments)
@example(Monthly(1, time(2)), datetime(2026, 10, 28, tzinfo=UTC))
@example(Daily(time(2, 30)), datetime(2024, 2, 26, tzinfo=UTC))
@example(Weekly(Weekday.SUNDAY, time(2)), datetime(2000, 2, 26, tzinfo=UTC))
def test_in_any_week_it_fires_at_its_minutes_and_at_no_other(cadence: Cadence, moment: datetime) -> None:
    """Minute by minute through a week, each compared with what the wall says."""
    start = moment.replace(second=0, microsecond=0)
    expected = {m for m in (start + timedelta(minutes=i) for i in range(7 * 1440)) if is_due(cadence, m)}
    first, after = cadence.index(start - timedelta(microseconds=1)) + 1, cadence.index(start + timedelta(days=7))
    found = {cadence.at(number) for number in range(first, after + 1)} - {start + timedelta(days=7)}
    assert {slot for slot in found if slot.second == 0} == expected


@pytest.mark.parametrize(
    ("cadence", "due"),
    [
        (Daily(time(2)), lambda day: True),
        (Weekly(Weekday.SUNDAY, time(2)), lambda day: day.isoweekday() == 7),
        (Monthly(1, time(2)), lambda day: day.day == 1),
    ],
    ids=["daily", "weekly", "monthly"],
)
def test_every_day_of_130_years_fires_as_it_should(cadence: Cadence, due: Callable[[date], bool]) -> None:
    days = ((START + timedelta(days=i)).date() for i in range((END - START).days + 1))
    expected = [datetime(day.year, day.month, day.day, 2, tzinfo=UTC) for day in days if due(day)]
    first, last = cadence.index(START) + 1, cadence.index(END)
    assert [cadence.at(number) for number in range(first, last + 1)] == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: Monthly(29, time(2)),
        lambda: Monthly(0, time(2)),
        lambda: EveryMinutes(7),
        lambda: EveryMinutes(0),
        lambda: EverySeconds(0),
        lambda: Daily(time(2, 0, 1)),
        lambda: Weekly(Weekday.MONDAY, time(2, tzinfo=None, microsecond=1)),
    ],
)
def test_a_cadence_that_would_be_irregular_is_refused(make: Callable[[], Cadence]) -> None:
    with pytest.raises(BadInput):
        make()
