"""Runs whose worker died, or whose message was lost, are enqueued again: found by their records, not by the broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from g3zkp_maint.coordination.journal import Journal, JournalEvent
from g3zkp_maint.coordination.run import Runs
from g3zkp_maint.coordination.run_record import RunRecord, RunState


@dataclass(frozen=True, slots=True)
class Reaped:
    """How many dead runs were enqueued again, and how many were given up because their attempts are used up."""

    requeued: int
    given_up: int


@dataclass(frozen=True, slots=True)
class Queues:
    """What the reaper asks of the broker: how many messages wait in a queue; and how long a run between two steps may
    wait behind them, in seconds."""

    backlog: Callable[[str], int]
    patience_seconds: float


def reap(runs: Runs, journal: Journal, *, enqueue: Callable[[str], None], queues: Queues, now: datetime) -> Reaped:
    """Claims each dead run (one reaper gets it) and hands its signature to `enqueue`, also that of a run given up: its
    message finds the failure on record and tells whoever waits for the result.

    A crash between claim and enqueue leaves the run `queued`; it counts as dead again after a while.
    """
    requeued = given_up = 0
    for record in runs.dead(now):
        if is_queued_up(record, queues, now):
            continue
        claimed = runs.mark_requeued(record)
        if claimed is None:
            continue
        enqueue(claimed.signature)
        if claimed.state is RunState.QUEUED:
            requeued += 1
        else:
            given_up += 1
        _note(journal, claimed)
    return Reaped(requeued, given_up)


def is_queued_up(record: RunRecord, queues: Queues, now: datetime) -> bool:
    """Whether a run is between two steps only because its fleet has other work first: that is no sign of death. A queue
    that never empties must not hide a dead run for ever, hence the patience."""
    if record.state is not RunState.HANDOFF or record.next_try_at is None:
        return False
    is_young = now < record.next_try_at + timedelta(seconds=queues.patience_seconds)
    return is_young and queues.backlog(record.task.partition(".")[0]) > 0


def _note(journal: Journal, record: RunRecord) -> None:
    event = "requeued" if record.state is RunState.QUEUED else "failed"
    why = record.error.message if record.error else "its message was lost"
    outcome = "" if event == "requeued" else "run-exhausted"
    journal.write(
        JournalEvent(
            event, record.trace, record.task, record.slot, owner="reaper", outcome=outcome, detail={"error": why}
        )
    )
