"""The windows as iCalendar (RFC 5545): one event each. A UID is a window's for ever, its SEQUENCE the record's revision; what
does not take place stays in the feed as CANCELLED, so that calendars take it out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from icalendar import Calendar, Event

from g3zkp_maint.windows.plan import Occurrence

_DOMAIN = "g3zkp-maint"


def feed(plan: Sequence[Occurrence], now: datetime) -> bytes:
    """The whole feed."""
    document = Calendar()
    document.add("prodid", f"-//{_DOMAIN}//maintenance windows//EN")
    document.add("version", "2.0")
    document.add("method", "PUBLISH")
    document.add("x-wr-calname", "G3ZKP maintenance windows (UTC)")
    for one in plan:
        document.add_component(_event(one, now))
    content: bytes = document.to_ical()
    return content


def _event(one: Occurrence, now: datetime) -> Any:
    window = one.window
    event = Event()
    event.add("uid", f"{window.id}@{_DOMAIN}")
    event.add("sequence", window.revision)
    event.add("dtstamp", now)
    event.add("last-modified", window.changed_at)
    event.add("dtstart", window.start)
    # Of one that was cancelled the time that it would have had: an event must not end as it begins.
    event.add("dtend", window.until if window.until > window.start else window.end)
    event.add("status", "CONFIRMED" if one.takes_place else "CANCELLED")
    event.add("summary", f"{'Emergency maintenance' if window.emergency else 'Maintenance'}: {window.what}")
    event.add("description", "\n".join(part for part in (window.impact, window.reason, _why_off(one)) if part))
    event.add("categories", [str(window.kind)])
    event.add("transp", "TRANSPARENT")
    return event


def _why_off(one: Occurrence) -> str:
    return "" if one.takes_place and one.window.stop is None else one.told_why
