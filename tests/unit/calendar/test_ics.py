"""Written, parsed back by the library, expanded by dateutil (which shares no code with us), compared with the firings."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta

import pytest
from dateutil.rrule import rruleset, rrulestr
from icalendar import Calendar as ICalendar
from icalendar import Event

from g3zkp_maint.calendar import ics
from g3zkp_maint.calendar.cadence import Cadence, Daily, EveryMinutes, Monthly, Weekday, Weekly
from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import Calendar, firings

START = datetime(2026, 10, 25, 12, 30, tzinfo=UTC)
SHIPPED = load_catalog("beat_schedule").maintenance


def entry(name: str, cadence: Cadence, **more: object) -> CalendarEntry:
    return CalendarEntry(name=name, task="backup.run", cadence=cadence, why="a test", **more)  # type: ignore[arg-type]


DAILY, WEEKLY, MONTHLY = Daily(time(2)), Weekly(Weekday.SUNDAY, time(2)), Monthly(1, time(2))
CALENDARS = {
    "as shipped": SHIPPED,
    "three of one group": (entry("d", DAILY), entry("w", WEEKLY), entry("m", MONTHLY)),
    "the daily one always wins": (entry("d", DAILY, rank=9), entry("w", WEEKLY), entry("m", MONTHLY)),
    "the weekly one over the monthly": (entry("d", DAILY), entry("w", WEEKLY, rank=9), entry("m", MONTHLY)),
    "other times": (entry("d", Daily(time(3))), entry("w", WEEKLY), entry("m", Monthly(1, time(4)))),
    "two of a kind": (
        entry("sunday", WEEKLY),
        entry("monday", Weekly(Weekday.MONDAY, time(2))),
        entry("first", MONTHLY),
        entry("second", Monthly(2, time(2))),
        entry("sunday-again", WEEKLY),
    ),
    "hourly loses slots": (entry("h", EveryMinutes(60)), entry("w", WEEKLY), entry("d", DAILY)),
    "hourly takes slots": (entry("h", EveryMinutes(60), rank=9), entry("w", WEEKLY)),
}


def parsed(content: bytes) -> dict[str, Event]:
    events = ICalendar.from_ical(content).walk("VEVENT")
    found = {str(event["UID"]): event for event in events}
    assert len(found) == len(events), "UIDs differ"
    return found


def expanded(event: Event, end: datetime) -> list[datetime]:
    rules = rruleset()
    rules.rrule(rrulestr(event["RRULE"].to_ical().decode(), dtstart=event["DTSTART"].dt))
    left_out = event.get("EXDATE", [])
    for group in left_out if isinstance(left_out, list) else [left_out]:
        for one in group.dts:
            rules.exdate(one.dt)
    return rules.between(START, end - timedelta(seconds=1), inc=True)


def expected(calendar: Calendar, end: datetime) -> dict[str, list[datetime]]:
    found: dict[str, list[datetime]] = {}
    for one in firings(calendar, START, end):
        if one.superseded_by is None:
            found.setdefault(one.entry.name, []).append(one.slot)
    return found


@pytest.mark.parametrize("name", CALENDARS)
def test_rules_expand_to_exactly_the_firings_that_run(name: str) -> None:
    calendar = CALENDARS[name]
    # Five years have the 1st on a Sunday many times, and a leap day; hourly ones need their EXDATEs listed.
    is_listed = any(isinstance(one.cadence, EveryMinutes) for one in calendar)
    end = START + timedelta(days=40 if is_listed else 5 * 366)
    events = parsed(ics.by_rule(calendar, calendar, start=START, end=end))
    found = {uid.removesuffix("@g3zkp-maint"): expanded(event, end) for uid, event in events.items()}
    assert found == expected(calendar, end)


def test_rules_without_listed_exceptions_hold_past_the_horizon() -> None:
    entries = [one for one in SHIPPED if one.name != "health"]
    events = parsed(ics.by_rule(SHIPPED, entries, start=START, end=START + timedelta(days=40)))
    much_later = START + timedelta(days=20 * 366)
    wanted = expected([one for one in SHIPPED if one.name != "health"], much_later)
    assert {uid.removesuffix("@g3zkp-maint"): expanded(event, much_later) for uid, event in events.items()} == wanted


def test_no_sunday_has_an_incremental_event() -> None:
    events = parsed(ics.by_rule(SHIPPED, SHIPPED, start=START, end=START + timedelta(days=400)))
    days = expanded(events["backup-incremental@g3zkp-maint"], START + timedelta(days=800))
    assert Counter(day.isoweekday() for day in days).keys() == {1, 2, 3, 4, 5, 6}


def test_by_slot_has_one_event_for_each_firing_that_runs() -> None:
    end = START + timedelta(days=60)
    entries = [one for one in SHIPPED if one.name != "health"]
    events = parsed(ics.by_slot(SHIPPED, entries, start=START, end=end))
    wanted = {
        f"{name}-{slot:%Y-%m-%dT%H:%MZ}@g3zkp-maint": slot
        for name, slots in expected(SHIPPED, end).items()
        for slot in slots
        if name != "health"
    }
    assert {uid: event["DTSTART"].dt for uid, event in events.items()} == wanted


def test_what_rfc_5545_requires_is_there_and_a_second_export_has_the_same_uids() -> None:
    first, second = (
        ics.by_rule(SHIPPED, SHIPPED, start=start, end=start + timedelta(days=400))
        for start in (START, START + timedelta(days=99))
    )
    document = ICalendar.from_ical(first)
    assert {"VERSION", "PRODID"} <= set(document)
    assert all({"UID", "DTSTAMP", "DTSTART"} <= set(event) for event in document.walk("VEVENT"))
    assert document.errors == []
    assert parsed(first).keys() == parsed(second).keys()
    assert all(len(line) <= 75 for line in first.split(b"\r\n"))
