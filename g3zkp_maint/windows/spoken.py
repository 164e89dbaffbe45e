"""Times and lengths as people are told them. UTC."""

from __future__ import annotations

from datetime import datetime, timedelta


def shown(length: timedelta) -> str:
    """`50 s`, `1 h 5 min`, from three days on `3 days 4 h`; for people."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = -(-seconds // 60)
    if minutes >= 3 * 24 * 60:
        parts = [(minutes // 1440, "days"), (minutes % 1440 // 60, "h")]
    else:
        parts = [(minutes // 60, "h"), (minutes % 60, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def moment(at: datetime) -> str:
    """`Sun 29 Nov 2026, 03:00 UTC`; for people."""
    return f"{at:%a} {at.day} {at:%b %Y, %H:%M} UTC"


def span(start: datetime, end: datetime) -> str:
    """`Sun 29 Nov 2026, 03:00 to 03:30 UTC`."""
    if start.date() == end.date():
        return f"{moment(start).removesuffix(' UTC')} to {end:%H:%M} UTC"
    return f"{moment(start)} to {moment(end)}"
