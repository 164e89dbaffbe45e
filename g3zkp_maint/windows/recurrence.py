"""When the windows of the settings recur."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from g3zkp_maint.calendar.cadence import Monthly, Weekday, Weekly
from g3zkp_maint.settings.windows import RecurringWindow
from g3zkp_maint.windows.kind import TERMS
from g3zkp_maint.windows.window import Window, window_id

#: Months in which a quarter begins.
_QUARTERS = (1, 4, 7, 10)
BY_SETTINGS = "settings"


def expected(
    recurring: Sequence[RecurringWindow], start: datetime, end: datetime, *, now: datetime
) -> Iterator[Window]:
    """Every window of the settings with start <= its start < end, as a record that is new at `now`."""
    for one in recurring:
        for moment in starts(one, start, end):
            yield _window(one, moment, now)


def starts(one: RecurringWindow, start: datetime, end: datetime) -> Iterator[datetime]:
    """Each start of it with start <= t < end."""
    cadence = _cadence(one)
    index = cadence.index(start)
    if cadence.at(index) < start:
        index += 1
    while (moment := cadence.at(index)) < end:
        if one.every != "quarter" or moment.month in _QUARTERS:
            yield moment
        index += 1


def _cadence(one: RecurringWindow) -> Weekly | Monthly:
    if one.weekday is not None:
        return Weekly(Weekday[one.weekday.upper()], one.at)
    return Monthly(one.day or 1, one.at)


def _window(one: RecurringWindow, start: datetime, now: datetime) -> Window:
    terms = TERMS[one.kind]
    return Window(
        id=window_id(one.name, start),
        kind=one.kind,
        start=start,
        end=start + timedelta(minutes=one.minutes),
        what=one.what or terms.what,
        impact=one.impact or terms.impact,
        recurs=True,
        by=BY_SETTINGS,
        changed_at=now,
    )
