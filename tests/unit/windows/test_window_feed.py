"""The feed, parsed back by the library: who imports it again and again has what is true."""

from __future__ import annotations

from datetime import datetime

from icalendar import Calendar, Event
from window_cases import DAY, HOUR, SUNDAY, WEEKLY, freeze, once, plan

from g3zkp_maint.settings import Windows
from g3zkp_maint.windows.feed import feed
from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.plan import unsaved
from g3zkp_maint.windows.proposal import stopped
from g3zkp_maint.windows.window import Window

SATURDAY = SUNDAY - DAY
UID = f"{WEEKLY}@g3zkp-maint"


def events(now: datetime, *records: Window, settings: Windows | None = None) -> dict[str, Event]:
    document = Calendar.from_ical(feed(plan(now, *records, settings=settings or Windows()), now))
    assert document.errors == []
    found = {str(event["UID"]): event for event in document.walk("VEVENT")}
    assert len(found) == len(document.walk("VEVENT"))
    assert all({"DTSTAMP", "DTSTART", "DTEND", "SEQUENCE", "STATUS"} <= set(event) for event in found.values())
    return found


def test_a_window_is_an_event_with_its_times_and_type() -> None:
    event = events(SATURDAY)[UID]
    assert (event["DTSTART"].dt, event["DTEND"].dt) == (SUNDAY, SUNDAY + HOUR / 2)
    assert (str(event["STATUS"]), event["SEQUENCE"]) == ("CONFIRMED", 0)
    assert "rotation of keys" in event["SUMMARY"]


def test_uids_stay_from_export_to_export() -> None:
    first, second = events(SATURDAY), events(SUNDAY + HOUR)
    assert set(first) - {UID} <= set(second)
    assert UID not in second


def test_each_change_of_a_window_raises_its_sequence_and_saving_it_does_not() -> None:
    sequences, records = [], dict[str, Window]()
    for settings in (Windows(), Windows(freezes=(freeze(SUNDAY),)), Windows(), Windows(recurring=()), Windows()):
        seen = [events(SATURDAY, *records.values(), settings=settings)[UID]]
        records |= {one.id: one for one in unsaved(plan(SATURDAY, *records.values(), settings=settings))}
        seen.append(events(SATURDAY, *records.values(), settings=settings)[UID])
        assert seen[0].to_ical() == seen[1].to_ical()
        sequences.append((seen[0]["SEQUENCE"], str(seen[0]["STATUS"])))
    assert sequences == [(0, "CONFIRMED"), (1, "CANCELLED"), (2, "CONFIRMED"), (3, "CANCELLED"), (4, "CONFIRMED")]


def test_what_does_not_take_place_is_cancelled_and_names_nobody() -> None:
    cancelled = stopped(WEEKLY, plan(SATURDAY, settings=Windows()), SATURDAY, why="not needed", by="mallory@host")
    event = events(SATURDAY, cancelled)[UID]
    assert (str(event["STATUS"]), event["SEQUENCE"]) == ("CANCELLED", 1)
    assert event["DTEND"].dt > event["DTSTART"].dt
    assert "not needed" in event["DESCRIPTION"]
    assert "mallory" not in event.to_ical().decode()


def test_a_part_of_a_bigger_window_is_cancelled_in_favour_of_that() -> None:
    major = once(Kind.MAJOR, SUNDAY, 90)
    found = events(SATURDAY, major)
    assert str(found[UID]["STATUS"]) == "CANCELLED"
    assert f"a part of the major window {major.id}" in found[UID]["DESCRIPTION"].replace("\n", "")
