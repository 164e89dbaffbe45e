"""How long disruptive work takes, from what the journal tells of past runs. Pure.

Counted is the time from leave to end, of runs that failed as well: taking keys back is work. What a run waited for, between
two attempts or for its leases, is not; nor are runs that found nothing to do, as they never ask for leave.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord
from g3zkp_maint.windows import words

#: So many past runs count, the newest.
RUNS = 20
_GIVEN = frozenset({words.WINDOW, words.FORCED})
_ENDS = frozenset({"finished", "failed"})


def past_seconds(records: Iterable[JournalRecord]) -> list[float]:
    """Of `records` of one task, oldest first: how long each run that had leave was at work, the newest RUNS of them."""
    since: dict[str, datetime] = {}
    worked: dict[str, timedelta] = {}
    found: list[float] = []
    for event in (record.event for record in records):
        if event.at is None:
            continue
        if event.step == words.STEP and event.detail.get("leave") in _GIVEN:
            since[event.run], worked[event.run] = event.at, timedelta()
        elif event.run in worked and not event.step:
            _count(event, event.at, since, worked)
            if event.event in _ENDS:
                found.append(worked.pop(event.run).total_seconds())
    return found[-RUNS:]


def _count(event: JournalEvent, at: datetime, since: dict[str, datetime], worked: dict[str, timedelta]) -> None:
    """Of an attempt that was killed nobody knows when it ended: the next one's start takes the place of its own."""
    if event.event == "started":
        since[event.run] = at
    elif event.event in _ENDS | {"waiting"} and event.run in since:
        worked[event.run] += at - since.pop(event.run)


def expectation(past: list[float], *, first_seconds: float, first_basis: str) -> tuple[float, str]:
    """Seconds, and what they are known from: the longest of the past runs; without any, `first_seconds`."""
    if not past:
        return first_seconds, first_basis
    return max(past), f"the longest of {len(past)} past runs" if len(past) > 1 else "as the one past run did"
