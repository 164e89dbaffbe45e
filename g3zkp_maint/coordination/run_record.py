"""What is known of one run, and how it may change. Pure: no Redis, no clock; `run.py` stores what is decided here.

A run is a task for a slot: the calendar time it is for, or a caller's key. Its states:

    queued -> running -> done | failed                  the ordinary course
              running -> waiting -> running             a lease is busy, or a temporary failure: tried again later
              running -> handoff -> running             between two steps of a canvas, when nobody is at it
    any that is not at its end -> superseded            a greater run of the same slot takes its place

An *attempt* is used up by a start that died (its lease ran out while `running`), by a temporary failure, and by a
hand-off that nobody took up; never by waiting, nor by a hand-off that was taken up. The cap on them is what ends a task
that kills its worker each time.

A start that is not the continuation of a canvas begins a new *chain*. Later steps name the chain they belong to, so
those of a canvas that was given up and started again do nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from g3zkp_maint.errors import BadInput, LeaseLost, MaintenanceError, RunBusy, RunExhausted

#: An error's message is cut to this many characters.
MESSAGE_LENGTH = 2000


class RunState(StrEnum):
    QUEUED = "queued"
    WAITING = "waiting"
    RUNNING = "running"
    HANDOFF = "handoff"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"

    @property
    def is_end(self) -> bool:
        return self in {RunState.DONE, RunState.FAILED, RunState.SUPERSEDED}


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed or waits: the error's stable code, and its message."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. Times are UTC; `next_try_at` is when a waiting run is tried again, or until when a hand-off may last;
    `deadline` is when the present wait ends; `result` is any JSON value; `signature` is what enqueues the run again."""

    task: str
    slot: str
    state: RunState
    owner: str = ""
    task_id: str = ""
    attempts: int = 0
    started: datetime | None = None
    updated: datetime | None = None
    next_try_at: datetime | None = None
    deadline: datetime | None = None
    wait_seconds: float = 0.0
    result: Any = None
    error: RunError | None = None
    signature: str = ""
    trace: str = ""
    token: int = 0
    chain: int = 0
    version: int = 0

    def __str__(self) -> str:
        return f"run {self.task} {self.slot}"


@dataclass(frozen=True, slots=True)
class Entry:
    """Who begins a run, and under which token of its lease. `chain` is 0 for a start."""

    owner: str
    token: int
    signature: str
    wait_seconds: float
    task_id: str = ""
    trace: str = ""
    chain: int = 0


def entered(record: RunRecord, entry: Entry, *, now: datetime, max_attempts: int) -> RunRecord:
    """The record once `entry` is in the run: `running`, or `failed` when its attempts are used up.

    Raises RunBusy where a canvas is under way between two steps, LeaseLost where `entry` continues another chain.
    """
    _check_chain(record, entry, now=now)
    if record.state is RunState.RUNNING:
        record = _died(record, "its worker was gone", now=now, max_attempts=max_attempts)
    if record.state is RunState.HANDOFF and not entry.chain:
        record = _died(record, "nobody took up its next step", now=now, max_attempts=max_attempts)
    if record.state is RunState.FAILED:
        return replace(record, token=entry.token)
    return replace(
        record,
        state=RunState.RUNNING,
        owner=entry.owner,
        task_id=entry.task_id,
        started=record.started or now,
        next_try_at=None,
        deadline=record.deadline if record.state is RunState.WAITING else None,
        wait_seconds=entry.wait_seconds,
        # A later step must not replace what starts the whole run.
        signature=record.signature if entry.chain else entry.signature,
        trace=entry.trace or record.trace,
        token=entry.token,
        chain=entry.chain or entry.token,
    )


def finished(record: RunRecord, result: Any) -> RunRecord:
    return replace(record, state=RunState.DONE, result=result, error=None, next_try_at=None, deadline=None)


def failed(record: RunRecord, error: RunError) -> RunRecord:
    return replace(record, state=RunState.FAILED, error=error, next_try_at=None, deadline=None)


def failed_for_now(record: RunRecord, error: RunError, *, retry_at: datetime, max_attempts: int) -> RunRecord:
    """An attempt is used up: `waiting` for the next one, or `failed` after the last."""
    attempts = record.attempts + 1
    record = replace(record, attempts=attempts)
    if attempts >= max_attempts:
        return failed(record, RunError(error.code, f"failed {attempts} times; the last time: {error.message}"))
    return replace(record, state=RunState.WAITING, error=error, next_try_at=retry_at)


def waiting(record: RunRecord, error: RunError, *, now: datetime, next_try_at: datetime) -> RunRecord:
    """`waiting` until `next_try_at`, or `failed` where that is past the deadline of the wait."""
    deadline = record.deadline or now + timedelta(seconds=record.wait_seconds)
    if next_try_at <= deadline:
        return replace(record, state=RunState.WAITING, error=error, next_try_at=next_try_at, deadline=deadline)
    waited = f"gave up after waiting {record.wait_seconds:.0f} s, until {deadline:%Y-%m-%d %H:%M:%S}Z: {error.message}"
    return failed(record, RunError(error.code, waited))


def handed_off(record: RunRecord, *, until: datetime) -> RunRecord:
    return replace(record, state=RunState.HANDOFF, next_try_at=until, deadline=None, error=None)


def superseded(record: RunRecord, by: str) -> RunRecord:
    return replace(record, state=RunState.SUPERSEDED, result={"superseded_by": by}, next_try_at=None, deadline=None)


def requeued(record: RunRecord, *, now: datetime, max_attempts: int) -> RunRecord:
    """A dead run on its way to be enqueued again: `queued`, or `failed` when its attempts are used up."""
    if record.state is RunState.RUNNING:
        record = _died(record, "its worker was gone", now=now, max_attempts=max_attempts)
    if record.state is RunState.HANDOFF:
        record = _died(record, "nobody took up its next step", now=now, max_attempts=max_attempts)
    return record if record.state is RunState.FAILED else replace(record, state=RunState.QUEUED)


def reset(record: RunRecord, *, due: datetime | None) -> RunRecord:
    """As new, by an operator's wish: `queued`, or waiting since `due`. The token stays, since the next one must be
    higher."""
    return RunRecord(
        record.task,
        record.slot,
        RunState.QUEUED if due is None else RunState.WAITING,
        next_try_at=due,
        signature=record.signature,
        trace=record.trace,
        wait_seconds=record.wait_seconds,
        token=record.token,
        version=record.version,
    )


def is_overdue(record: RunRecord, *, now: datetime, grace_seconds: float, queued_seconds: float) -> bool:
    """Whether an open run that nobody is in has been left alone for too long. A running one's lease decides instead."""
    if record.state is RunState.QUEUED:
        return record.updated is None or now - record.updated > timedelta(seconds=queued_seconds)
    grace = timedelta(seconds=grace_seconds if record.state is RunState.WAITING else 0)
    waits = record.state in {RunState.WAITING, RunState.HANDOFF}
    return waits and record.next_try_at is not None and now > record.next_try_at + grace


def described(error: BaseException) -> RunError:
    """An error as a record may hold it. Texts of errors that are not ours may hold secrets: they stay in the log."""
    if isinstance(error, MaintenanceError):
        return RunError(error.code, str(error)[:MESSAGE_LENGTH])
    return RunError("unexpected", f"{type(error).__name__}; its text is in the worker's log")


def to_hash(record: RunRecord) -> dict[str, str]:
    """The record as Redis keeps it: text, times as ISO 8601, what is empty left out. Raises BadInput when the result
    is not JSON."""
    fields: dict[str, str] = {}
    for name in RunRecord.__slots__:
        value = getattr(record, name)
        if isinstance(value, datetime):
            fields[name] = value.isoformat(timespec="milliseconds")
        elif name == "result" and value is not None:
            fields[name] = _json(record, value)
        elif isinstance(value, RunError):
            fields["error_code"], fields["error_message"] = value.code, value.message
        elif value not in {None, ""}:
            fields[name] = str(value)
    return fields


def from_hash(fields: Mapping[str, str]) -> RunRecord:
    values: dict[str, Any] = {name: text for name, text in fields.items() if name in RunRecord.__slots__}
    for name in ("started", "updated", "next_try_at", "deadline"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    for name in ("attempts", "token", "chain", "version"):
        values[name] = int(values.get(name, 0))
    values["state"] = RunState(values["state"])
    values["wait_seconds"] = float(values.get("wait_seconds", 0))
    values["result"] = json.loads(values["result"]) if "result" in values else None
    if "error_code" in fields:
        values["error"] = RunError(fields["error_code"], fields.get("error_message", ""))
    return RunRecord(**values)


def _check_chain(record: RunRecord, entry: Entry, *, now: datetime) -> None:
    if entry.chain and entry.chain != record.chain:
        raise LeaseLost(
            f"{record}: this step belongs to a canvas (chain {entry.chain}) that was given up; the run was started "
            f"again (chain {record.chain}). Stop here"
        )
    is_between_steps = record.state is RunState.HANDOFF and not entry.chain
    if is_between_steps and record.next_try_at is not None and now < record.next_try_at:
        raise RunBusy(
            f"{record} is under way, between two steps; if its next step does not come, it can be started again at "
            f"{record.next_try_at:%Y-%m-%d %H:%M:%S}Z",
            retry_after_seconds=max(1.0, (record.next_try_at - now).total_seconds()),
        )


def _died(record: RunRecord, how: str, *, now: datetime, max_attempts: int) -> RunRecord:
    attempts = record.attempts + 1
    told = f"attempt {attempts} by {record.owner or 'nobody known'} died: {how}, noticed {now:%Y-%m-%d %H:%M:%S}Z"
    record = replace(record, attempts=attempts, error=RunError("died", told))
    if attempts < max_attempts:
        return record
    used_up = f"given up after {attempts} attempts; {told}. Find the cause in that worker's log, then reset the run"
    return failed(record, RunError(RunExhausted.code, used_up))


def _json(record: RunRecord, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the result of {record} is not JSON: {error}; return plain values only") from error
