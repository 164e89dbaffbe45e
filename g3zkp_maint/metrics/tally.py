"""What the journal comes to: counts and last times, folded record by record. Pure; the same records give the same tally.

A tally is small whatever the length of the journal, and can be kept as JSON with the record it goes up to. So it stands
on more than the journal still holds: a counter does not fall when the journal's cap takes old records away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from g3zkp_maint.calendar.firing import Calendar
from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord
from g3zkp_maint.metrics.served import served

#: The form of `as_json`, and what is counted how. Another number: what was kept is not used, and all is counted anew.
VERSION = 4

AUDIT = "observe.security_audit"
#: The step in which a rotation is marked as done; its detail has the new key's id by type, as `identity_key`.
ROTATION, ROTATION_DONE = "crypto.rotate_keys", "commit"
#: The step that reads a part of a store, of these tasks; its detail has how many objects are `overdue`.
REREAD, REREAD_TASKS = "reread", frozenset({"backup.reread", "backup.reread_second"})

#: The step that tells of each look at the messenger its `state` after it, and how long each path took, as `health_ms`.
HEALTH, LOOK = "observe.health", "check"
#: The values of labels `state` and `path`: those of the health check, which is not imported here for the exporter's memory.
STATES = ("healthy", "degraded", "down")
PATHS = ("health", "ready", "metrics")

#: The values of label `outcome`; whatever else a run says of itself is `other`.
OUTCOMES = ("ok", "partial", "failed", "skipped", "superseded", "other")

#: What the bytes of a task's steps are. Verification is told by its step: it is a part of backup.run as well.
_BYTES = {
    "backup.run": "stored",
    "backup.copy": "stored",
    "backup.import": "stored",
    "backup.prune": "freed",
    "backup.verify": "read",
    "backup.prune_second": "freed",
    "backup.reread": "read",
    "backup.reread_second": "read",
    "crypto.drill": "read",
    "crypto.restore": "read",
}
#: Looks at sizes only: its bytes are those that it did not have to read.
_NOT_READ = "verify-quick"

#: More names of tasks, or of codes of one task, than these go under `other`: a journal may hold anything.
MOST_TASKS = 60
MOST_CODES = 40
#: Runs whose start is remembered until their end; the oldest are given up past that.
MOST_OPEN = 5000
OTHER = "other"
_ROTATED_KEY = re.compile(r"[a-z]{1,20}_key")


@dataclass(slots=True)
class TaskTally:
    """Of one task. Times are seconds since the epoch, 0 for never; `last_ok` is None before the first end,
    after one that was skipped, and when the run of that end, for slot `ended_slot`, was reset."""

    outcomes: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    timed: int = 0
    seconds: float = 0.0
    succeeded_at: float = 0.0
    last_ok: bool | None = None
    ended_at: float = 0.0
    ended_slot: str = ""
    leases_lost: int = 0


@dataclass(slots=True)
class EntryTally:
    """Of one calendar entry, as TaskTally."""

    succeeded_at: float = 0.0
    seconds: float | None = None
    missed: int = 0


@dataclass(slots=True)
class MessengerTally:
    """As the last look left it: its `state`, '' before the first one, the time of the first look in a row that said so and
    of the last, and the seconds that each path took then."""

    state: str = ""
    since: float = 0.0
    looked_at: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """`last_id` and `number` are those of the last record that was folded; `begun_at` the time of the first. `open` are
    the runs under way, by the time of their start; `rotated` is when keys were rotated last, by type; `reread_overdue` how
    many objects the last re-reading found late, by task.

    `since` is from when on each entry is on the calendar, 0 for ever. Those in `awaited` are new to it: they are since the
    first record after number `counted`, up to which the former calendar was followed."""

    last_id: str = ""
    number: int = 0
    begun_at: float = 0.0
    tasks: dict[str, TaskTally] = field(default_factory=dict)
    entries: dict[str, EntryTally] = field(default_factory=dict)
    open: dict[str, float] = field(default_factory=dict)
    rotated: dict[str, float] = field(default_factory=dict)
    audit_passed: bool | None = None
    reread_overdue: dict[str, int] = field(default_factory=dict)
    messenger: MessengerTally = field(default_factory=MessengerTally)
    since: dict[str, float] = field(default_factory=dict)
    awaited: list[str] = field(default_factory=list)
    counted: int = 0

    def fold(self, record: JournalRecord, calendar: Calendar) -> None:
        """Counts a record, which must follow the last one."""
        event = record.event
        at = event.at.timestamp() if event.at else self.begun_at
        self.begun_at = self.begun_at or at
        self.last_id, self.number = record.id, record.number
        if self.awaited and record.number > self.counted:
            self.since |= dict.fromkeys(self.awaited, at)
            self.awaited = []
        if event.step:
            self._fold_step(event, at)
        elif event.event == "started":
            self._begin(event.run, at)
        elif event.event in {"finished", "failed"}:
            self._end(event, at, calendar)
        elif event.event == "superseded":
            _count(self._task(event.task).outcomes, "superseded")
            self.open.pop(event.run, None)
        elif event.event == "missed":
            self._miss(event)
        elif event.event == "reset":
            self._reset(event)

    def fresh_at(self, entry: str) -> float:
        """From when on the age of `entry` counts: its last success, or when it first could have had one; 0: not yet."""
        if entry in self.awaited:
            return 0.0
        return max(self.entries.get(entry, EntryTally()).succeeded_at, self.since.get(entry, 0.0), self.begun_at)

    def _fold_step(self, event: JournalEvent, at: float) -> None:
        task = self._task(event.task)
        if (event.task, event.step, event.event) == (ROTATION, ROTATION_DONE, "finished"):
            for name in filter(_ROTATED_KEY.fullmatch, event.detail):
                self.rotated[name.removesuffix("_key")] = at
        if event.step == REREAD and event.task in REREAD_TASKS:
            overdue = event.detail.get("overdue")
            if isinstance(overdue, int):
                self.reread_overdue[event.task] = overdue
        if (event.task, event.step, event.event) == (HEALTH, LOOK, "finished"):
            self._look(event.detail, at)
        if event.event == "lease-lost":
            task.leases_lost += 1
        kind = "read" if event.step.startswith("verify-") else _BYTES.get(event.task)
        if event.bytes and kind and event.step != _NOT_READ:
            _count(task.bytes, kind, event.bytes)

    def _look(self, detail: Mapping[str, Any], at: float) -> None:
        state, before = detail.get("state"), self.messenger
        if state in STATES:
            took = {path: detail.get(f"{path}_ms") for path in PATHS}
            seconds = {path: one / 1000 for path, one in took.items() if isinstance(one, int)}
            self.messenger = MessengerTally(state, before.since if state == before.state else at, at, seconds)

    def _begin(self, run: str, at: float) -> None:
        # A run that is started again keeps the time of its first start.
        self.open.setdefault(run, at)
        if len(self.open) > MOST_OPEN:
            del self.open[next(iter(self.open))]

    def _end(self, event: JournalEvent, at: float, calendar: Calendar) -> None:
        task = self._task(event.task)
        outcome = _outcome(event)
        is_ok = outcome == "ok"
        _count(task.outcomes, outcome)
        if outcome == "failed":
            code = event.outcome or "unexpected"
            _count(task.codes, code if code in task.codes or len(task.codes) < MOST_CODES else OTHER)
        task.last_ok = None if outcome == "skipped" else is_ok  # it tried nothing: neither good nor bad
        task.ended_at, task.ended_slot = at, event.slot
        task.succeeded_at = max(task.succeeded_at, at) if is_ok else task.succeeded_at
        began = self.open.pop(event.run, None)
        seconds = None if began is None else max(0.0, at - began)
        if seconds is not None:
            task.timed += 1
            task.seconds += seconds
        if event.task == AUDIT and event.event == "finished":
            self.audit_passed = is_ok
        self._serve(event, at, seconds, calendar, is_ok=is_ok)

    def _serve(self, event: JournalEvent, at: float, seconds: float | None, calendar: Calendar, *, is_ok: bool) -> None:
        found = served(calendar, event.task, event.slot)
        if found.own and seconds is not None:
            self._entry(found.own).seconds = seconds
        for name in found.names if is_ok else ():
            entry = self._entry(name)
            entry.succeeded_at = max(entry.succeeded_at, at)

    def _reset(self, event: JournalEvent) -> None:
        """The operator has seen to that run: its end is not the last word. Another slot's stays."""
        task = self._task(event.task)
        if task.ended_slot == event.slot:
            task.last_ok = None

    def _miss(self, event: JournalEvent) -> None:
        dropped = event.detail.get("dropped")
        if isinstance(dropped, int):
            self._entry(str(event.detail.get("entry", ""))).missed += dropped

    def _task(self, name: str) -> TaskTally:
        # A run that gave way has a record of its own: `backup.run-incremental`.
        name = name.partition("-")[0]
        if name not in self.tasks and len(self.tasks) >= MOST_TASKS:
            name = OTHER
        return self.tasks.setdefault(name, TaskTally())

    def _entry(self, name: str) -> EntryTally:
        return self.entries.setdefault(name, EntryTally())

    # -- kept ----------------------------------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Tally | None:
        """None for one of another version."""
        if document.get("version") != VERSION:
            return None
        known = {one.name: document[one.name] for one in fields(cls)}
        known["tasks"] = {name: TaskTally(**values) for name, values in known["tasks"].items()}
        known["entries"] = {name: EntryTally(**values) for name, values in known["entries"].items()}
        known["messenger"] = MessengerTally(**known["messenger"])
        return cls(**known)


def _outcome(event: JournalEvent) -> str:
    if event.event == "failed":
        return "failed"
    return event.outcome if event.outcome in OUTCOMES else "other" if event.outcome else "ok"


def _count(counts: dict[str, int], name: str, by: int = 1) -> None:
    counts[name] = counts.get(name, 0) + by
