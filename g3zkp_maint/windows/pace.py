"""How long disruptive work takes, from what the journal tells of past runs. Pure.

Counted is the time from leave to end. What a run waited for, between two attempts or for its leases, is not; nor are runs
that found nothing to do, as they never ask for leave. Runs that failed count where they were longer than the others (taking
keys back is work); alone they prove nothing, as they may have failed at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord
from g3zkp_maint.windows import words

#: So many past runs count, the newest.
RUNS = 20
_GIVEN = frozenset({words.WINDOW, words.FORCED})
_ENDS = frozenset({"finished", "failed"})


@dataclass(frozen=True, slots=True)
class Past:
    """How long each run that had leave was at work, in seconds, oldest first: those that ended well, and those that failed."""

    finished: tuple[float, ...] = ()
    failed: tuple[float, ...] = ()


def past_runs(records: Iterable[JournalRecord]) -> Past:
    """Of `records` of one task, oldest first; the newest RUNS of each."""
    since: dict[str, datetime] = {}
    worked: dict[str, timedelta] = {}
    ended: dict[str, list[float]] = {name: [] for name in _ENDS}
    for event in (record.event for record in records):
        if event.at is None:
            continue
        if event.step == words.STEP and event.detail.get("leave") in _GIVEN:
            since[event.run], worked[event.run] = event.at, timedelta()
        elif event.run in worked and not event.step:
            _count(event, event.at, since, worked)
            if event.event in _ENDS:
                ended[event.event].append(worked.pop(event.run).total_seconds())
    return Past(tuple(ended["finished"][-RUNS:]), tuple(ended["failed"][-RUNS:]))


def _count(event: JournalEvent, at: datetime, since: dict[str, datetime], worked: dict[str, timedelta]) -> None:
    """Of an attempt that was killed nobody knows when it ended: the next one's start takes the place of its own."""
    if event.event == "started":
        since[event.run] = at
    elif event.event in _ENDS | {"waiting"} and event.run in since:
        worked[event.run] += at - since.pop(event.run)


def expectation(past: Past, *, first_seconds: float, first_basis: str) -> tuple[float, str]:
    """Seconds, and what they are known from: the longest of the past runs; `first_seconds` where none has ended well."""
    longest_failed = max(past.failed, default=0.0)
    if not past.finished:
        return (
            (longest_failed, "as a failed run did") if longest_failed > first_seconds else (first_seconds, first_basis)
        )
    return max(*past.finished, longest_failed), f"the longest of {len(past.finished) + len(past.failed)} past runs"
