"""A journal of many runs in seconds, for tests and benchmarks: the records that the Conductor writes, with their chain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from g3zkp_maint.coordination import keys
from g3zkp_maint.coordination.connection import connect
from g3zkp_maint.coordination.journal import JournalEvent, _digest, _to_fields

_BATCH = 2000


def write_journal(url: str, events: Iterator[JournalEvent]) -> int:
    """Writes `events`, in the order of their times, to the empty journal of the Redis at `url`, past the clock and the cap.
    Returns how many."""
    client = connect(url)
    number, digest = 0, ""
    pipeline = client.pipeline(transaction=False)
    for number, event in enumerate(events, start=1):
        fields: dict[Any, Any] = {**_to_fields(event, number=number, before=digest)}
        digest = _digest(fields)
        # By the time of the event, as if it had been written then: reading from a time on must leave out the rest.
        moment = event.at or datetime.fromtimestamp(0, UTC)
        pipeline.xadd(keys.JOURNAL, fields, id=f"{round(moment.timestamp() * 1000)}-{number}")
        if number % _BATCH == 0:
            pipeline.execute()
    pipeline.hset(keys.JOURNAL_HEAD, mapping={"number": number, "digest": digest})
    pipeline.execute()
    client.close()
    return number


def health_runs(runs: int, *, until: datetime) -> Iterator[JournalEvent]:
    """A health run every five minutes up to `until`: three records each, one run in a hundred failed."""
    slot = until - timedelta(minutes=5 * runs)
    for number in range(runs):
        slot += timedelta(minutes=5)
        text = slot.strftime("%Y-%m-%dT%H:%MZ")
        run, task = f"{number:08x}", "observe.health"
        yield JournalEvent("started", run, task, text, at=slot, owner="observe@bench")
        failed = number % 100 == 99
        ends = slot + timedelta(milliseconds=80)
        yield JournalEvent("finished", run, task, text, step="check", at=ends, detail={"seconds": 0.07})
        event, outcome = ("failed", "platform-unavailable") if failed else ("finished", "ok")
        yield JournalEvent(event, run, task, text, at=ends, outcome=outcome, owner="observe@bench")
