"""What the journal tells of runs: one line for each, made of its records. Pure; the same records give the same lines.

The journal is capped, and read from a given time on: of a run that began before that, `started` is its first record
there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord

#: Events after which nothing more comes, unless the run is started again.
_ENDS = frozenset({"finished", "failed", "superseded"})
#: Run-level events that leave the state as it was.
_REMARKS = frozenset({"note", "records-dropped", "lease-lost"})
#: Beat's word that a message went out: the run itself begins with its worker.
SENT = "published"


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run. `state` is the last event of the run itself (`running` after `started`), `outcome` how it ended (ok,
    partial, an error's code; '' while it is not at its end), `seconds` from its first record to its end or last record."""

    run: str
    task: str
    slot: str
    state: str
    outcome: str
    started: datetime
    seconds: float
    bytes: int
    attempts: int
    message: str

    @property
    def is_failed(self) -> bool:
        """Ended otherwise than whole; superseded is no failure."""
        return self.state == "failed" or (self.state == "finished" and self.outcome not in {"", "ok"})


def run_lines(records: Iterable[JournalRecord]) -> list[RunLine]:
    """The runs that `records` (oldest first) tell of, in the order of their first records."""
    by_run: dict[str, list[JournalEvent]] = {}
    for record in records:
        if record.event.event != SENT:
            by_run.setdefault(record.event.run, []).append(record.event)
    return [_line(run, events) for run, events in by_run.items()]


def _line(run: str, events: Sequence[JournalEvent]) -> RunLine:
    times = [event.at for event in events if event.at is not None]
    turns = [event for event in events if not event.step and event.event not in _REMARKS]
    last = turns[-1] if turns else None
    is_over = last is not None and last.event in _ENDS
    until = last.at if is_over and last is not None and last.at else times[-1]
    return RunLine(
        run=run,
        task=events[0].task,
        slot=events[0].slot,
        state="running" if last is None or last.event == "started" else last.event,
        outcome=last.outcome if is_over and last is not None else "",
        started=times[0],
        seconds=(until - times[0]).total_seconds(),
        bytes=_moved(events),
        attempts=max(event.attempt for event in events),
        message=str(last.detail.get("error") or "") if last is not None else "",
    )


def _moved(events: Sequence[JournalEvent]) -> int:
    """Bytes of the run itself where it tells them, else of its steps."""
    whole = [event.bytes for event in events if not event.step and event.bytes is not None]
    return whole[-1] if whole else sum(event.bytes or 0 for event in events if event.event == "finished")
