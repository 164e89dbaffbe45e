"""The calendar as shipped is the one of the maintenance protocols."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beat_schedule
from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.calendar.firing import Firing, firings
from g3zkp_maint.settings import Settings

CATALOG = load_catalog("beat_schedule")
moments = st.datetimes(
    datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2099-01-01"), timezones=st.just(UTC)
)


def promised(moment: datetime) -> set[tuple[str, ...]]:
    """Section 6 of the protocols, once more and by hand: what runs at this minute."""
    sunday, first = moment.isoweekday() == 7, moment.day == 1
    at = f"{moment:%H:%M}"
    calls: set[tuple[str, ...]] = set()
    if moment.minute % 5 == 0:
        calls.add(("observe.health",))
    if at == "02:00":
        calls.add(("backup.run", "full" if sunday else "incremental"))
        calls |= {("crypto.check_certificates",)} if first else set()
    if at == "03:00":
        calls.add(("cleanup.run",))
        calls |= {("crypto.rotate_keys",)} if sunday else set()
        calls |= {("observe.check_dependencies",)} if first else set()
    if at == "04:00":
        calls.add(("observe.security_scan",))
        calls |= {("observe.benchmark",)} if sunday else set()
        calls |= {("observe.security_audit",)} if first else set()
    return calls


def running(found: list[Firing]) -> list[tuple[str, ...]]:
    return [(one.entry.task, *map(str, one.entry.args)) for one in found if one.superseded_by is None]


@given(moments)
def test_in_any_week_each_minute_runs_what_the_protocols_promise(moment: datetime) -> None:
    start = moment.replace(second=0, microsecond=0)
    found = firings(CATALOG.maintenance, start, start + timedelta(days=7))
    by_minute = {slot: running(list(group)) for slot, group in groupby(found, key=lambda one: one.slot)}
    for minute in (start + timedelta(minutes=i) for i in range(7 * 1440)):
        calls = by_minute.get(minute, [])
        assert set(calls) == promised(minute)
        assert len(calls) == len(set(calls))
    assert all(slot.second == slot.microsecond == 0 for slot in by_minute)


def test_over_130_years_no_slot_runs_both_full_and_incremental_and_every_day_has_a_backup() -> None:
    backups = [one for one in CATALOG.maintenance if one.task == "backup.run"]
    start, end = datetime(1970, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)
    found = [one for one in firings(CATALOG.maintenance, start, end, only=backups) if one.superseded_by is None]
    days = [one.slot.date() for one in found]
    assert len(days) == len(set(days)) == (end - start).days
    assert all((one.entry.args == ("full",)) == (one.slot.isoweekday() == 7) for one in found)


def test_on_a_sunday_that_is_the_1st_all_that_is_monthly_runs_beside_the_full_backup() -> None:
    day = datetime(2026, 11, 1, tzinfo=UTC)
    found = firings(CATALOG.maintenance, day, day + timedelta(days=1))
    calls = running([one for one in found if one.entry.task != "observe.health"])
    assert calls == [
        ("backup.run", "full"),
        ("crypto.check_certificates",),
        ("cleanup.run",),
        ("crypto.rotate_keys",),
        ("observe.check_dependencies",),
        ("observe.security_scan",),
        ("observe.benchmark",),
        ("observe.security_audit",),
    ]


def test_there_are_ten_entries_and_upkeep_beside_them() -> None:
    assert len(beat_schedule.CALENDAR) == 10
    assert [one.task for one in beat_schedule.UPKEEP] == [
        "observe.reap",
        "crypto.sweep_helpers",
        "observe.window_notices",
        "backup.reread",
        "backup.reread_second",
        "crypto.roll_out_certificates",
        "observe.weekly_report",
        "backup.canary",
        "crypto.canary",
        "cleanup.canary",
        "observe.canary",
    ]


@pytest.mark.parametrize("entry", CATALOG.everything, ids=lambda entry: entry.name)
def test_every_entry_has_a_queue_a_reason_and_limits_below_the_visibility_timeout(entry: object) -> None:
    assert isinstance(entry, beat_schedule.CalendarEntry)
    assert entry.queue in {"backup", "crypto", "cleanup", "observe"}
    assert entry.why
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", entry.task)
    assert entry.soft_limit_seconds is not None
    assert entry.hard_limit_seconds is not None
    assert entry.soft_limit_seconds < entry.hard_limit_seconds < Settings().tasks.visibility_seconds
