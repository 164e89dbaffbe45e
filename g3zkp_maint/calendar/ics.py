"""The calendar as iCalendar (RFC 5545), for people's calendars and on-call tools.

Two forms. By rule: one event an entry, whose recurrence rule leaves out the slots that another entry takes (no
incremental backup on a Sunday), right for all time. By slot: one event a firing, for programs that know no rules.
UIDs are stable, so that a later import updates what an earlier one made.

Rules of days are all written by day (FREQ=DAILY with BYDAY and BYMONTHDAY), because there RFC 5545 lets the two limit
each other: "Sundays, but not the 1st" cannot be said with FREQ=WEEKLY. What cannot be said by days at all (an entry
several times a day that loses a slot) becomes a list of EXDATE up to `end`, with UNTIL there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time
from typing import Any

from icalendar import Calendar as ICalendar
from icalendar import Event

from g3zkp_maint.calendar.cadence import Daily, EveryMinutes, EverySeconds, Monthly, Weekday, Weekly
from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import Calendar, firings, rivals

_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DOMAIN = "g3zkp-maint"

Rule = dict[str, Any]


def by_rule(calendar: Calendar, entries: Iterable[CalendarEntry], *, start: datetime, end: datetime) -> bytes:
    """One recurring event for each of `entries`, from the first slot at or after `start`; precedence from `calendar`.

    Without an end, except where EXDATEs are needed (module docstring). An entry that never runs has no event.
    """
    events = (_recurring(calendar, entry, start, end) for entry in entries)
    return _render((event for event in events if event is not None), stamp=start)


def by_slot(calendar: Calendar, entries: Iterable[CalendarEntry], *, start: datetime, end: datetime) -> bytes:
    """One event for each firing of `entries` with start <= slot < end that is not superseded."""
    running = (one for one in firings(calendar, start, end, only=entries) if one.superseded_by is None)
    events = (_event(one.entry, one.slot, uid=f"{one.entry.name}-{one.entry.slot_text(one.slot)}") for one in running)
    return _render(events, stamp=start)


def _render(events: Iterable[Event], *, stamp: datetime) -> bytes:
    document = ICalendar()
    document.add("prodid", f"-//{_DOMAIN}//maintenance calendar//EN")
    document.add("version", "2.0")
    document.add("x-wr-calname", "G3ZKP maintenance (UTC)")
    for event in events:
        event.add("dtstamp", stamp)
        document.add_component(event)
    content: bytes = document.to_ical()
    return content


def _event(entry: CalendarEntry, slot: datetime, *, uid: str) -> Event:
    call = f"{entry.task}({', '.join(str(arg) for arg in entry.args)})"
    event = Event()
    event.add("uid", f"{uid}@{_DOMAIN}")
    event.add("dtstart", slot)
    event.add("summary", f"{entry.name}: {call}")
    event.add("description", f"{entry.why}\nqueue {entry.queue}, if missed: {entry.missed}")
    event.add("categories", [entry.queue])
    # Work of machines: it takes nobody's time.
    event.add("transp", "TRANSPARENT")
    return event


def _recurring(calendar: Calendar, entry: CalendarEntry, start: datetime, end: datetime) -> Event | None:
    running = (one for one in firings(calendar, start, end, only=[entry]) if one.superseded_by is None)
    first = next(running, None)
    if first is None:
        return None
    stronger = rivals(calendar, entry)
    event = _event(entry, first.slot, uid=entry.name)
    if all(_is_by_days(one) for one in stronger) and (_is_by_days(entry) or not stronger):
        event.add("rrule", _rule(entry) | _limits(entry, stronger))
        return event
    event.add("rrule", _rule(entry) | {"UNTIL": end})
    taken = [one.slot for one in firings(calendar, first.slot, end, only=[entry]) if one.superseded_by]
    if taken:
        event.add("exdate", taken)
    return event


def _is_by_days(entry: CalendarEntry) -> bool:
    return isinstance(entry.cadence, Daily | Weekly | Monthly)


def _rule(entry: CalendarEntry) -> Rule:
    match entry.cadence:
        case EveryMinutes(minutes):
            return {"FREQ": "MINUTELY", "INTERVAL": minutes}
        case EverySeconds(seconds):
            return {"FREQ": "SECONDLY", "INTERVAL": seconds}
        case Weekly(weekday, _):
            return {"FREQ": "DAILY", "BYDAY": _DAYS[weekday]}
        case Monthly(day, _):
            return {"FREQ": "DAILY", "BYMONTHDAY": day}
        case Daily():
            return {"FREQ": "DAILY"}


def _limits(entry: CalendarEntry, stronger: Iterable[CalendarEntry]) -> Rule:
    """The days left to `entry` (which has some: it has a slot) when those of `stronger` are taken out of its own."""
    meeting = [one.cadence for one in stronger if _time(one) == _time(entry)]
    weekdays = {one.weekday for one in meeting if isinstance(one, Weekly)}
    days = {one.day for one in meeting if isinstance(one, Monthly)}
    rule: Rule = {}
    if weekdays and not isinstance(entry.cadence, Weekly):
        rule["BYDAY"] = [_DAYS[day] for day in Weekday if day not in weekdays]
    if days and not isinstance(entry.cadence, Monthly):
        rule["BYMONTHDAY"] = [day for day in range(1, 32) if day not in days]
    return rule


def _time(entry: CalendarEntry) -> time | None:
    return entry.cadence.at_time if isinstance(entry.cadence, Daily | Weekly | Monthly) else None
