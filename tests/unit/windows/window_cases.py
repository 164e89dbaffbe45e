"""Settings and records for the tests of windows; Sunday, 29 November 2026, is a day of the weekly window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from g3zkp_maint.settings import Windows
from g3zkp_maint.settings.windows import Freeze
from g3zkp_maint.windows.kind import TERMS, Kind
from g3zkp_maint.windows.plan import Occurrence, plan_windows
from g3zkp_maint.windows.window import Window, window_id

SUNDAY = datetime(2026, 11, 29, 3, tzinfo=UTC)
WEEKLY = "weekly-20261129T0300"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NONE_RECUR = Windows(recurring=())


def once(kind: Kind, start: datetime, minutes: int, *, suffix: str = "0001", **more: object) -> Window:
    facts = {"what": "w", "impact": "i", "recurs": False, "by": "op", "changed_at": start - 30 * DAY, **more}
    end = start + minutes * MINUTE
    return Window(id=window_id(str(kind), start, suffix), kind=kind, start=start, end=end, **facts)  # type: ignore[arg-type]


def plan(now: datetime, *records: Window, settings: Windows = NONE_RECUR) -> tuple[Occurrence, ...]:
    return plan_windows(settings, {one.id: one for one in records}, now)


def occurrence(window: Window, now: datetime, settings: Windows = NONE_RECUR) -> Occurrence:
    (found,) = plan(now, window, settings=settings)
    return found


def freeze(day: datetime, days: int = 1) -> Freeze:
    return Freeze(first=day.date(), last=(day + (days - 1) * DAY).date(), why="year's end")


def notice(kind: Kind) -> timedelta:
    return TERMS[kind].notice
