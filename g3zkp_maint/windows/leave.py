"""Whether disruptive work may start: it must end inside a window that is open. Pure.

What may not start is `held` where it may a little later (its window opens within the wait of the settings, alerts fire),
and else `refused`: no run waits for days, as a message that waits long is given out again, and whoever waits for it has
gone. The next slot of the calendar, or an operator in the next window, takes it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from g3zkp_maint.settings.windows import Freeze
from g3zkp_maint.windows import words
from g3zkp_maint.windows.plan import Occurrence, freeze_at
from g3zkp_maint.windows.spoken import moment, shown
from g3zkp_maint.windows.window import Window

#: Work that alerts hold back asks again after this.
ASK_AGAIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Work:
    """What wants to start. `what` reads as "rotating identity keys", `basis` says what `seconds` is known from."""

    what: str
    seconds: float
    basis: str
    heeds_alerts: bool = True

    @property
    def length(self) -> timedelta:
        return timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Leave:
    """It may start, in the open time of `window`, which ends at `until`."""

    work: Work
    window: str
    until: datetime

    def facts(self) -> dict[str, Any]:
        """For the journal: words.py."""
        return {"leave": words.WINDOW, **_facts(self.work, self.window, self.until)}


@dataclass(frozen=True, slots=True)
class Forced:
    """It may start, whatever the windows say, for `reason`."""

    reason: str

    def facts(self) -> dict[str, Any]:
        """For the journal: words.py."""
        return {"leave": words.FORCED, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Refusal:
    """It may not; `why` is the sentence. With `retry_seconds` it is held, without them refused. `following` is the next
    window that is long enough."""

    work: Work
    cause: str
    why: str
    window: str | None = None
    until: datetime | None = None
    following: Window | None = None
    retry_seconds: float | None = None
    alerts: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """For the journal: words.py."""
        how = words.REFUSED if self.retry_seconds is None else words.HELD
        found = {"leave": how, "cause": self.cause, **_facts(self.work, self.window, self.until)}
        if self.following is not None:
            found |= {"next": self.following.id, "next_start": self.following.start.isoformat()}
        return found | ({"alerts": ",".join(self.alerts)} if self.alerts else {})


def may_start(
    work: Work, plan: Sequence[Occurrence], now: datetime, *, wait: timedelta, freezes: Sequence[Freeze] = ()
) -> Leave | Refusal:
    """Windows that follow one another without a gap count as one."""
    is_open = [one.window for one in plan if one.is_open(now)]
    following = _following(work, plan, now)
    if not is_open:
        return _closed(work, now, following, wait, freezes)
    window = max(is_open, key=lambda one: one.until)
    until = _end_of_open_time(plan, window.until)
    if now + work.length <= until:
        return Leave(work, window.id, until)
    why = (
        f"{work.what} may take {shown(work.length)} ({work.basis}), and the window {window.id} ends in "
        f"{shown(until - now)}; {_next(following)}"
    )
    return Refusal(work, words.TOO_SHORT, why, window.id, until, following, _seconds_until(following, now, wait))


def heed(leave: Leave, now: datetime, *, firing: Sequence[str]) -> Leave | Refusal:
    """The leave, unless one of the alerts that hold work back is firing."""
    if not firing:
        return leave
    why = f"{leave.work.what} is held back while {', '.join(firing)} {'fires' if len(firing) == 1 else 'fire'}"
    return _held(leave, now, words.ALERT, why, tuple(firing))


def unheard(leave: Leave, now: datetime, *, error: str, goes_on: bool) -> Leave | Refusal:
    """Where nobody can tell whether alerts fire: held, unless the settings say otherwise."""
    if goes_on:
        return leave
    why = f"{leave.work.what} is held back, as it is not known whether alerts fire: {error}"
    return _held(leave, now, words.ALERTS_UNKNOWN, why)


def _closed(work: Work, now: datetime, following: Window | None, wait: timedelta, freezes: Sequence[Freeze]) -> Refusal:
    freeze = freeze_at(freezes, now, now + timedelta.resolution)
    retry = _seconds_until(following, now, wait)
    if retry is not None and following is not None:
        cause, why = words.SOON, f"{work.what} waits for the window {following.id} at {moment(following.start)}"
    elif freeze is not None:
        cause, why = words.FROZEN, f"no window is open for {work.what}: frozen until {freeze.last}, {freeze.why}"
    else:
        cause, why = words.NONE_OPEN, f"no window is open for {work.what}; {_next(following)}"
    return Refusal(work, cause, why, following=following, retry_seconds=retry)


def _held(leave: Leave, now: datetime, cause: str, why: str, alerts: tuple[str, ...] = ()) -> Refusal:
    """Tried again as long as it would still end in time."""
    fits = now + ASK_AGAIN + leave.work.length <= leave.until
    retry = ASK_AGAIN.total_seconds() if fits else None
    told = why if fits else f"{why}; there is no time left in this window to wait for that"
    return Refusal(leave.work, cause, told, leave.window, leave.until, retry_seconds=retry, alerts=alerts)


def _following(work: Work, plan: Sequence[Occurrence], now: datetime) -> Window | None:
    later = [one.window for one in plan if one.takes_place and one.window.start > now]
    return next((one for one in later if work.length <= _end_of_open_time(plan, one.until) - one.start), None)


def _end_of_open_time(plan: Sequence[Occurrence], until: datetime) -> datetime:
    """Of the windows that follow without a gap; `plan` is by start."""
    for one in plan:
        if one.takes_place and one.window.start <= until:
            until = max(until, one.window.until)
    return until


def _seconds_until(following: Window | None, now: datetime, wait: timedelta) -> float | None:
    if following is None or following.start - now > wait:
        return None
    return (following.start - now).total_seconds()


def _next(following: Window | None) -> str:
    if following is None:
        return "no window that is planned is long enough"
    return f"the next that is long enough is {following.id}, {moment(following.start)}"


def _facts(work: Work, window: str | None, until: datetime | None) -> dict[str, Any]:
    found: dict[str, Any] = {"expected_seconds": round(work.seconds), "basis": work.basis}
    if window is not None and until is not None:
        found |= {"window": window, "until": until.isoformat()}
    return found
