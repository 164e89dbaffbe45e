"""Which windows take place, and why each of the others does not: a pure function of settings, records and time.

The records are what was planned, changed and stopped so far; the settings say what should recur. Where the two differ, the
settings' change makes a next revision, which `unsaved` names, for whoever may write to save. So the plan is the same before
and after it was saved.

Of two that overlap the one of the higher type takes place (infrastructure, major, minor, security), then the earlier, then
the longer, and the other is a part of it: people are told of one time. An emergency is no part of anything, and takes place always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from g3zkp_maint.settings.windows import Freeze, Windows
from g3zkp_maint.windows.recurrence import BY_SETTINGS, expected
from g3zkp_maint.windows.spoken import span
from g3zkp_maint.windows.window import Stop, Verdict, Window

#: How far the plan looks ahead; longer than any notice.
HORIZON = timedelta(days=62)
#: Longer than any window: what began before that is over.
LOOK_BACK = timedelta(days=1)

_FROM_SETTINGS = ("kind", "end", "what", "impact")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """`why` says in a sentence what led to the window's verdict. `saved` is the revision on record, None for none."""

    window: Window
    why: str
    saved: int | None

    @property
    def takes_place(self) -> bool:
        """Also of one that was closed while it was open: until then it did."""
        return self.window.verdict == "takes place"

    def is_open(self, at: datetime) -> bool:
        return self.takes_place and self.window.start <= at < self.window.until

    @property
    def told_why(self) -> str:
        """Why it does not take place, or not to its end, without who decided it: for everybody."""
        return self.window.stop.why if self.window.stop is not None else self.why

    @property
    def is_unsaved(self) -> bool:
        return self.saved != self.window.revision

    def as_dict(self, now: datetime) -> dict[str, Any]:
        return {**self.window.model_dump(mode="json"), "why": self.why, "open": self.is_open(now)}


def plan_windows(settings: Windows, records: Mapping[str, Window], now: datetime) -> tuple[Occurrence, ...]:
    """Every window that is not over at `now` and starts within HORIZON, by start."""
    wanted = {one.id: one for one in expected(settings.recurring, now - LOOK_BACK, now + HORIZON, now=now)}
    current = [_current(records.get(key), wanted.get(key), now) for key in records.keys() | wanted.keys()]
    # Also what is over: what was a part of that is so to its end.
    near = [one for one in current if one.end > now - LOOK_BACK and one.start < now + HORIZON]
    decided: list[Occurrence] = []
    for window in sorted(near, key=_precedence):
        saved = records[window.id].revision if window.id in records else None
        verdict, why = _decide(window, settings.freezes, decided)
        decided.append(Occurrence(_with(window, verdict, now, is_saved=saved == window.revision), why, saved))
    lasting = (one for one in decided if one.window.end > now)
    return tuple(sorted(lasting, key=lambda one: (one.window.start, one.window.id)))


def unsaved(plan: Sequence[Occurrence]) -> tuple[Window, ...]:
    """What the records lack."""
    return tuple(one.window for one in plan if one.is_unsaved)


def freeze_at(freezes: Sequence[Freeze], start: datetime, end: datetime) -> Freeze | None:
    """The first freeze that start <= t < end touches."""
    return next((one for one in freezes if start < _end_of(one) and _begin_of(one) < end), None)


def _current(record: Window | None, wanted: Window | None, now: datetime) -> Window:
    """The record as it is, or as the settings change it."""
    if record is None:
        assert wanted is not None  # noqa: S101 -- each id is of one of the two
        return wanted
    if not record.recurs or record.end <= now or (record.stop is not None and record.stop.how != "withdrawn"):
        return record
    if wanted is None:
        if record.stop is not None:
            return record
        return record.replaced(
            now, stop=Stop(at=now, how="withdrawn", why="the settings name it no more", by=BY_SETTINGS)
        )
    if record.stop is None and all(getattr(record, name) == getattr(wanted, name) for name in _FROM_SETTINGS):
        return record
    return record.replaced(now, stop=None, **{name: getattr(wanted, name) for name in _FROM_SETTINGS})


def _with(window: Window, verdict: Verdict, now: datetime, *, is_saved: bool) -> Window:
    """One revision at a time: what is new already is not replaced again."""
    if window.verdict == verdict:
        return window
    return window.replaced(now, verdict=verdict) if is_saved else window.model_copy(update={"verdict": verdict})


def _precedence(window: Window) -> tuple[bool, int, datetime, timedelta, str]:
    return (not window.emergency, -window.terms.rank, window.start, -window.length, window.id)


def _decide(window: Window, freezes: Sequence[Freeze], before: Sequence[Occurrence]) -> tuple[Verdict, str]:
    stop = window.stop
    if stop is not None and stop.how != "closed":
        return "stopped", f"{stop.how} by {stop.by}: {stop.why}"
    if window.emergency:
        return "takes place", f"emergency: {window.reason}"
    freeze = freeze_at(freezes, window.start, window.until)
    if freeze is not None:
        return "frozen", f"frozen from {freeze.first} to {freeze.last}: {freeze.why}"
    for other in before:
        if other.takes_place and not other.window.emergency and other.window.meets(window.start, window.until):
            when = span(other.window.start, other.window.end)
            return "absorbed", f"a part of the {other.window.kind} window {other.window.id}, {when}"
    if stop is not None:
        return "takes place", f"closed early by {stop.by}: {stop.why}"
    return "takes place", _planned(window)


def _planned(window: Window) -> str:
    return "recurs, as the settings say" if window.recurs else f"planned by {window.by}"


def _begin_of(freeze: Freeze) -> datetime:
    return datetime.combine(freeze.first, time(), UTC)


def _end_of(freeze: Freeze) -> datetime:
    return datetime.combine(freeze.last, time(), UTC) + timedelta(days=1)
