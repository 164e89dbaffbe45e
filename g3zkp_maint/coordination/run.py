"""Runs are begun once, by one process at a time, whatever the broker does. The records are in Redis.

Redis as a broker delivers at least once: after a lost connection, a restart, a visibility timeout, or two beats, the
same message comes again. So a task begins by asking here, and is told that the run is finished (with its result), that
somebody is at it, or that it may start. Guarantees:

- A run is alive while its lease `run:{task}:{slot}` is: one process at a time, renewed by a thread, lost with it.
- Every change is a compare-and-set on the version of the record that was read, and on the token of the lease: one who
  lost the run cannot overwrite what its successor writes. He gets LeaseLost.
- A run at its end stays so: a message that comes again gets the same result, or the same failure. `reset` is for people.
- A run whose worker died, or whose message was lost, is found by `dead` and enqueued again by one reaper only.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import redis

from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination import keys, run_record
from g3zkp_maint.coordination.connection import reaching
from g3zkp_maint.coordination.lease import RETRY_SECONDS, Lease, Leases, Mode
from g3zkp_maint.coordination.run_record import Entry, RunError, RunRecord, RunState
from g3zkp_maint.coordination.scripts import Script
from g3zkp_maint.errors import (
    BadInput,
    CoordinationUnavailable,
    LeaseBusy,
    LeaseLost,
    RunBusy,
    RunExhausted,
    TemporaryError,
)

#: Seconds past its next try after which a waiting run counts as forgotten: queues can be long.
GRACE_SECONDS = 120.0

#: Seconds that a message may lie in a queue before it counts as lost.
QUEUED_SECONDS = 3600.0

#: How often a change is planned anew because the record was changed in between; two suffice in practice.
_CHANGES = 20


@dataclass(frozen=True, slots=True)
class Started:
    """The run is this process's, as long as `lease` is held. `chain` is handed to the later steps of a canvas."""

    record: RunRecord
    lease: Lease

    @property
    def attempt(self) -> int:
        """1 for the first."""
        return self.record.attempts + 1

    @property
    def chain(self) -> int:
        return self.record.chain


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is at its end: `done` with `result`, `failed` with `error`, or `superseded`."""

    record: RunRecord

    @property
    def state(self) -> RunState:
        return self.record.state

    @property
    def result(self) -> Any:
        return self.record.result

    @property
    def error(self) -> RunError | None:
        return self.record.error


class Runs:
    """The runs: begins, changes and lists them."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        clock: Clock,
        leases: Leases,
        keep_days: float,
        max_attempts: int,
        handoff_seconds: float,
        grace_seconds: float = GRACE_SECONDS,
        queued_seconds: float = QUEUED_SECONDS,
    ) -> None:
        self._client = client
        self._clock = clock
        self._leases = leases
        self._keep_ms = round(keep_days * 86_400_000)
        self.max_attempts = max_attempts
        self._handoff_seconds = handoff_seconds
        self._grace_seconds = grace_seconds
        self._queued_seconds = queued_seconds
        self._change = Script(client, "change_run")

    # -- before a run --------------------------------------------------------------------------------------------------

    def queue(self, task: str, slot: str, *, signature: str, trace: str = "") -> bool:
        """Records that a message for this run is about to be sent. False when the run is known already: send none."""
        new = RunRecord(task, slot, RunState.QUEUED, signature=signature, trace=trace or uuid.uuid4().hex)
        return self._save(new) is not None

    def begin(
        self,
        task: str,
        slot: str,
        *,
        owner: str,
        signature: str,
        deadline_seconds: float,
        task_id: str = "",
        trace: str = "",
        chain: int = 0,
    ) -> Started | Finished:
        """Enters the run, or tells how it ended.

        `owner` names the worker, for people; `signature` is an opaque text by which the run can be enqueued again;
        `deadline_seconds` is how long it may wait for leases at a stretch; `trace` is its id in the journal; `chain`,
        in the later steps of a canvas, is `Started.chain` of the first: such a step may enter a run that was handed
        off, and only that one. An attempt that died before is counted.
        Raises RunBusy when somebody is at it, RunExhausted when this start found the attempts used up (later ones get
        Finished), LeaseLost when the step's canvas was given up, CoordinationUnavailable.
        """
        known = self.get(task, slot)
        if known is not None and known.state.is_end:
            return Finished(known)
        lease = self._live_lease(task, slot, owner)
        entry = Entry(owner, lease.token, signature, deadline_seconds, task_id, trace, chain)
        try:
            record = self._update(task, slot, lambda found: self._enter(found, entry), create=not chain)
        except BaseException:  # whatever stopped it, the run is not entered and others need not wait for the lease
            lease.release()
            raise
        if record.state is RunState.RUNNING and record.token == lease.token:
            return Started(record, lease)
        lease.release()
        if record.state is RunState.FAILED and record.token == lease.token:
            raise RunExhausted(f"{record}: {_message(record)}")
        return Finished(record)

    # -- out of a run: each of these gives its lease back, and raises LeaseLost when another is in the run by now ---------

    def finish(self, run: Started, result: Any) -> RunRecord:
        """The run is done; `result` is any JSON value, and what a message that comes again gets."""
        return self._leave(run, lambda record: run_record.finished(record, result))

    def fail(self, run: Started, error: BaseException, *, retry_at: datetime | None = None) -> RunRecord:
        """A TemporaryError, or a resource's LeaseLost, uses up an attempt and leaves the run `waiting` until `retry_at`
        (the error's own pause by default) while there are attempts left; any other error ends it as `failed`. The
        record returned tells which."""
        told = run_record.described(error)
        if not isinstance(error, TemporaryError | LeaseLost):
            return self._leave(run, lambda record: run_record.failed(record, told))
        pause = error.retry_after_seconds if isinstance(error, TemporaryError) else RETRY_SECONDS
        at = retry_at or self._clock.now() + timedelta(seconds=pause)
        cap = self.max_attempts
        return self._leave(run, lambda r: run_record.failed_for_now(r, told, retry_at=at, max_attempts=cap))

    def wait(self, run: Started, error: TemporaryError, *, next_try_at: datetime) -> RunRecord:
        """The run waits for what `error` tells, usually a lease; costs no attempt. Raises RunExhausted, and the run is
        `failed`, when `next_try_at` is past the deadline of this wait."""
        told, now = run_record.described(error), self._clock.now()
        record = self._leave(run, lambda r: run_record.waiting(r, told, now=now, next_try_at=next_try_at))
        if record.state is RunState.FAILED:
            raise RunExhausted(f"{record}: {_message(record)}")
        return record

    def handoff(self, run: Started, *, seconds: float | None = None) -> RunRecord:
        """Nobody is in the run until the canvas's next step begins, which it must within `seconds`."""
        until = self._handoff_end(seconds)
        return self._leave(run, lambda record: run_record.handed_off(record, until=until))

    # -- beside a run --------------------------------------------------------------------------------------------------

    def keep_open(self, task: str, slot: str, *, chain: int, seconds: float | None = None) -> bool:
        """Tells that the canvas of a run that was handed off is at work (its shards are), and lets the hand-off last
        for `seconds` from now. False when the run is no longer between those steps. Raises CoordinationUnavailable."""
        for _ in range(_CHANGES):
            record = self.get(task, slot)
            if record is None or record.state is not RunState.HANDOFF or record.chain != chain:
                return False
            # Of parts that say so at once only one is heard; the others must not take that for the canvas's end.
            if self._save(run_record.handed_off(record, until=self._handoff_end(seconds))) is not None:
                return True
        raise CoordinationUnavailable(f"run {task} {slot} was changed by others {_CHANGES} times over; try again later")

    def count_start(self, task: str, slot: str, *, chain: int, part: str) -> int:
        """Counts a start of one of the tasks that work side by side in a canvas; 1 is the first. A part that kills its
        worker each time comes again and again by the broker, past the run's own count of attempts."""
        name = keys.run_parts(task, slot)
        with reaching(self._client, f"count a start of {part} of the run {task} {slot}"):
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hincrby(name, f"{chain}:{part}", 1)
            pipeline.pexpire(name, self._keep_ms)
            return int(pipeline.execute()[0])

    def supersede(self, task: str, slot: str, *, by: str) -> RunRecord:
        """Ends the run, which may be unknown so far, in favour of the run `by`; one at its end stays as it is.

        Raises RunBusy when somebody is at it.
        """
        with self._live_lease(task, slot, by):
            return self._update(task, slot, lambda record: run_record.superseded(record, by))

    def reset(self, task: str, slot: str, *, for_reaper: bool = False) -> RunRecord:
        """Makes the run `queued` with all its attempts, for an operator; enqueue the `signature` of what is returned.
        With `for_reaper` the reaper does that, at its next look.

        Raises BadInput for an unknown run, RunBusy when somebody is at it.
        """
        with self._live_lease(task, slot, "operator"):
            record = self.get(task, slot)
            if record is None:
                raise BadInput(f"no run of {task} for {slot!r} is on record; list those that are")
            due = self._clock.now() - timedelta(seconds=self._grace_seconds + 1) if for_reaper else None
            fresh = self._save(run_record.reset(record, due=due))
        if fresh is None:
            raise RunBusy(f"{record} changed at this moment; try again", retry_after_seconds=1)
        return fresh

    # -- all runs ------------------------------------------------------------------------------------------------------

    def get(self, task: str, slot: str) -> RunRecord | None:
        with reaching(self._client, f"read the run {task} {slot}"):
            fields = self._client.hgetall(keys.run(task, slot))
        return _record(fields) if fields else None

    def recent(self, task: str | None = None, *, limit: int = 50) -> list[RunRecord]:
        """Up to `limit` runs, of one task or all, those changed last first."""
        with reaching(self._client, "list runs"):
            names = [str(name) for name in self._client.zrevrange(keys.RECENT_RUNS, 0, -1)]
        wanted = [name for name in names if task is None or name.split(":", 1)[0] == task]
        return self._read(wanted[:limit])

    def dead(self, now: datetime | None = None) -> list[RunRecord]:
        """Runs that go on only if somebody enqueues them again: `running` without a live lease, `waiting` or `handoff`
        overdue, `queued` for so long that the message must be lost."""
        moment = now or self._clock.now()
        with reaching(self._client, "look for dead runs"):
            names = [str(name) for name in self._client.zrange(keys.OPEN_RUNS, 0, -1)]
        # Records first, leases after: a run that begins in between is seen with its lease.
        records = self._read(names)
        alive = {holding.resource for holding in self._leases.holders()}
        return [record for record in records if self._is_dead(record, alive, moment)]

    def mark_requeued(self, record: RunRecord) -> RunRecord | None:
        """Claims a run of `dead` for enqueueing. None: another has it, or it came back to life. `queued`: enqueue its
        signature now (should that be missed, it is dead again later). `failed`: its attempts are used up."""
        return self._save(run_record.requeued(record, now=self._clock.now(), max_attempts=self.max_attempts))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _live_lease(self, task: str, slot: str, owner: str) -> Lease:
        # Two starts by one owner must exclude each other too: a message that comes again must not take over a live run.
        unique = f"{owner}#{uuid.uuid4().hex[:8]}"
        try:
            return self._leases.acquire({keys.run_resource(task, slot): Mode.EXCLUSIVE}, owner=unique, queue=False)
        except LeaseBusy as error:
            raise RunBusy(
                f"run {task} {slot} is somebody's already: {error}", retry_after_seconds=error.retry_after_seconds
            ) from error

    def _enter(self, record: RunRecord, entry: Entry) -> RunRecord:
        traced = record if record.trace else replace(record, trace=uuid.uuid4().hex)
        return run_record.entered(traced, entry, now=self._clock.now(), max_attempts=self.max_attempts)

    def _leave(self, run: Started, plan: Callable[[RunRecord], RunRecord]) -> RunRecord:
        def checked(record: RunRecord) -> RunRecord:
            if record.state is RunState.RUNNING and record.token == run.record.token:
                return plan(record)
            raise LeaseLost(
                f"{run.record} is no longer run by {run.record.owner} (token {run.record.token}): it is {record.state} "
                f"under token {record.token}. What was to be recorded is dropped"
            )

        after = self._update(run.record.task, run.record.slot, checked, stop_at_end=False)
        run.lease.release()
        return after

    def _update(
        self,
        task: str,
        slot: str,
        plan: Callable[[RunRecord], RunRecord],
        *,
        create: bool = True,
        stop_at_end: bool = True,
    ) -> RunRecord:
        """The record as `plan` made it of the present one; with `stop_at_end`, one at its end is returned as it is."""
        for _ in range(_CHANGES):
            before = self.get(task, slot)
            if before is None and not create:
                raise LeaseLost(f"run {task} {slot} is not on record any more; this step of it must stop")
            before = before or RunRecord(task, slot, RunState.QUEUED)
            if stop_at_end and before.state.is_end:
                return before
            after = self._save(plan(before))
            if after is not None:
                return after
        raise CoordinationUnavailable(f"run {task} {slot} was changed by others {_CHANGES} times over; try again later")

    def _save(self, record: RunRecord) -> RunRecord | None:
        """Stores what was made of a record and returns it as stored; None if the present one is another by now."""
        now = self._clock.now()
        after = replace(record, updated=now, version=record.version + 1)
        fields = run_record.to_hash(after)
        args: list[str | int] = [record.version, keys.run_name(record.task, record.slot), round(now.timestamp() * 1000)]
        args += ["ended" if record.state.is_end else "open", self._keep_ms, uuid.uuid4().hex]
        args += [part for pair in fields.items() for part in pair]
        names = [keys.run(record.task, record.slot), keys.OPEN_RUNS, keys.RECENT_RUNS]
        return after if self._change(f"change the {record}", keys=names, args=args) else None

    def _read(self, names: list[str]) -> list[RunRecord]:
        with reaching(self._client, "read runs"):
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.hgetall(keys.run(*name.split(":", 1)))
            return [_record(fields) for fields in pipeline.execute() if fields]

    def _is_dead(self, record: RunRecord, alive: set[str], now: datetime) -> bool:
        if keys.run_resource(record.task, record.slot) in alive:
            return False
        if record.state is RunState.RUNNING:
            return True
        return run_record.is_overdue(
            record, now=now, grace_seconds=self._grace_seconds, queued_seconds=self._queued_seconds
        )

    def _handoff_end(self, seconds: float | None) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds or self._handoff_seconds)


def _record(fields: Mapping[Any, Any]) -> RunRecord:
    return run_record.from_hash({str(name): str(value) for name, value in fields.items()})


def _message(record: RunRecord) -> str:
    return record.error.message if record.error else record.state.value
