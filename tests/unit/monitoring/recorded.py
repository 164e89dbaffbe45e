"""Journals of a few lines, for the tests of what is counted of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord
from g3zkp_maint.metrics.tally import Tally

CALENDAR = load_catalog("beat_schedule").everything
#: A Sunday, when the full backup takes the place of the incremental one.
SUNDAY = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def run(
    task: str, outcome: str = "ok", *, at: datetime = SUNDAY, seconds: float = 60, slot: str = ""
) -> list[JournalEvent]:
    """A run that begins at `at`; an outcome with a dash, or `failed`, is a failure's code."""
    key = f"{task}@{at.isoformat()}"
    ended = "failed" if "-" in outcome else "finished"
    slot = slot or at.strftime("%Y-%m-%dT%H:%MZ")
    return [
        JournalEvent("started", key, task, slot, at=at),
        JournalEvent(ended, key, task, slot, at=at + timedelta(seconds=seconds), outcome=outcome),
    ]


def step(task: str, name: str, bytes: int | None = None, event: str = "finished", **detail: Any) -> JournalEvent:
    return JournalEvent(event, "r", task, "2026-11-22T02:00Z", step=name, at=SUNDAY, bytes=bytes, detail=detail)


def records(events: list[JournalEvent], first: int = 1) -> Iterator[JournalRecord]:
    for number, event in enumerate(events, start=first):
        yield JournalRecord(f"{number}-0", number, "", event)


def tally_of(*events: JournalEvent) -> Tally:
    found = Tally()
    for record in records(list(events)):
        found.fold(record, CALENDAR)
    return found
