"""One run of one task: begun once, under its leases, journaled, and brought to an end that its record tells.

Whoever runs something, a worker's task or the command line, does it through `Conductor.perform`, so both mean the same
by it. A run of several tasks (a canvas) is `hand_over`ed from step to step: between two steps nobody is in it, but its
leases stay held for a while (`Relay`), and each next step enters it with the number of its canvas.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.guard import AllOf, Guard
from g3zkp_maint.coordination.journal import Journal, JournalEvent, Step
from g3zkp_maint.coordination.lease import Lease, Leases, Mode
from g3zkp_maint.coordination.run import Finished, Runs, Started
from g3zkp_maint.coordination.run_record import RunRecord, RunState
from g3zkp_maint.errors import LeaseBusy, LeaseLost, PermanentError, RunBusy, RunExhausted, TemporaryError

#: A run between two steps may wait behind other work for so many hand-offs; its leases are held for as long.
PATIENCE = 6


@dataclass(frozen=True, slots=True)
class Occasion:
    """What is run: `task` for `slot`, by `owner` (a worker's name), with `signature` to enqueue it again. `wants` are the
    leases it needs. In a later step of a canvas, `relay` is what the step before handed over. `at_failure` is called
    once the run has failed for good."""

    task: str
    slot: str
    owner: str
    signature: str
    task_id: str = ""
    wants: Mapping[str, Mode] = field(default_factory=dict)
    relay: Relay | None = None
    at_failure: Callable[[Held], None] | None = None


@dataclass(frozen=True, slots=True)
class Relay:
    """What goes from one step of a canvas to the next: the number of the canvas, and the lease tokens by resource."""

    chain: int
    tokens: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        return {"chain": self.chain, "tokens": dict(self.tokens)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Relay:
        return cls(int(document["chain"]), {str(name): int(token) for name, token in document["tokens"].items()})


@dataclass(frozen=True, slots=True)
class Held:
    """What a body is given: its guard, a way to journal its steps, which attempt it is, and when the run first began."""

    guard: Guard
    step: Callable[[str], AbstractContextManager[Step]]
    attempt: int
    started: datetime


@dataclass(frozen=True, slots=True)
class HandOver:
    """What a body returns when the run goes on in other tasks; `payload` is what those need, `relay` is filled in."""

    payload: Mapping[str, Any]
    relay: Relay | None = None


class Conductor:
    """Performs occasions."""

    def __init__(
        self,
        *,
        runs: Runs,
        leases: Leases,
        journal: Journal,
        clock: Clock,
        wait_seconds: float,
        handoff_seconds: float,
        retry_seconds: float,
    ) -> None:
        """`wait_seconds`: how long a run may wait for its leases; `handoff_seconds`: how long for its next step."""
        self._runs = runs
        self._leases = leases
        self._journal = journal
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._handoff_seconds = handoff_seconds
        self._retry_seconds = retry_seconds

    def perform(self, occasion: Occasion, body: Callable[[Held], Any]) -> Any:
        """Runs `body` unless the run is at its end already, and returns its result, the same one at each repetition.

        Raises TemporaryError when it is to be tried again later (busy, waiting for a lease, failed with attempts left),
        LeaseLost when another has the run by now, the body's own error when the run failed for good, and PermanentError
        with the recorded reason for a run that failed before.
        """
        begun = self._begin(occasion)
        if isinstance(begun, Finished):
            return _recorded(begun)
        with begun.lease:
            return self._inside(occasion, begun, body)

    def supersede(self, task: str, slot: str, *, by: str) -> Any:
        """Ends a run in favour of another, and returns what its record says."""
        record = self._runs.supersede(task, slot, by=by)
        self._note(record.trace, task, slot, "superseded", by=by)
        return record.result

    # -- one step ------------------------------------------------------------------------------------------------------

    def _begin(self, occasion: Occasion) -> Started | Finished:
        try:
            return self._runs.begin(
                occasion.task,
                occasion.slot,
                owner=occasion.owner,
                signature=occasion.signature,
                deadline_seconds=self._wait_seconds,
                task_id=occasion.task_id,
                chain=occasion.relay.chain if occasion.relay else 0,
            )
        except RunExhausted as error:
            # This start found the last attempt dead: nobody else has told the journal how the run ended.
            record = self._runs.get(occasion.task, occasion.slot)
            trace = record.trace if record else ""
            self._note(trace, occasion.task, occasion.slot, "failed", outcome=error.code, error=str(error))
            raise

    def _inside(self, occasion: Occasion, begun: Started, body: Callable[[Held], Any]) -> Any:
        if occasion.relay is None:
            self._note(begun.record.trace, occasion.task, occasion.slot, "started", owner=occasion.owner)
        try:
            lease = self._lease(occasion)
        except LeaseBusy as error:
            self._wait(occasion, begun, error)
            raise
        except Exception as error:
            self._fail(occasion, begun, error, None)
            raise
        try:
            result = body(self._held(occasion, begun, lease))
        except Exception as error:
            self._fail(occasion, begun, error, lease)
            raise
        return self._end(occasion, begun, lease, result)

    def _lease(self, occasion: Occasion) -> Lease | None:
        if not occasion.wants:
            return None
        owner = _lease_owner(occasion.task, occasion.slot)
        if occasion.relay is None:
            return self._leases.acquire(occasion.wants, owner=owner)
        return self._leases.attach(owner=owner, tokens=occasion.relay.tokens)

    def _held(self, occasion: Occasion, begun: Started, lease: Lease | None) -> Held:
        guard: Guard = AllOf(begun.lease, lease) if lease is not None else begun.lease
        step = self._step(occasion, begun.record, begun.attempt)
        return Held(guard, step, begun.attempt, begun.record.started or self._clock.now())

    def _step(
        self, occasion: Occasion, record: RunRecord, attempt: int
    ) -> Callable[[str], AbstractContextManager[Step]]:
        return partial(
            self._journal.step, record.trace, occasion.task, occasion.slot, attempt=attempt, owner=occasion.owner
        )

    def _end(self, occasion: Occasion, begun: Started, lease: Lease | None, result: Any) -> Any:
        if isinstance(result, HandOver):
            if lease is not None:
                lease.detach(seconds=self._handoff_seconds * PATIENCE)
            self._runs.handoff(begun, seconds=self._handoff_seconds)
            return replace(result, relay=Relay(begun.chain, dict(lease.tokens) if lease else {}))
        _release(lease)
        self._runs.finish(begun, result)
        outcome = str(result.get("outcome", "ok")) if isinstance(result, Mapping) else "ok"
        self._note(begun.record.trace, occasion.task, occasion.slot, "finished", outcome=outcome, owner=occasion.owner)
        return result

    def _wait(self, occasion: Occasion, begun: Started, error: LeaseBusy) -> None:
        at = self._clock.now() + timedelta(seconds=error.retry_after_seconds)
        try:
            self._runs.wait(begun, error, next_try_at=at)
        except RunExhausted as given_up:
            self._note(
                begun.record.trace, occasion.task, occasion.slot, "failed", outcome=given_up.code, error=str(given_up)
            )
            raise
        told = {"resource": error.resource, "holder": error.holder, "next_try": _iso(at), "error": str(error)}
        self._note(
            begun.record.trace,
            occasion.task,
            occasion.slot,
            "waiting",
            outcome=error.code,
            owner=occasion.owner,
            **told,
        )

    def _fail(self, occasion: Occasion, begun: Started, error: Exception, lease: Lease | None) -> None:
        """Records the failure, and raises what is to be told in place of `error`, where that differs.

        One that may be tried again leaves the run waiting; a canvas's leases then stay for the step's next try. With
        its attempts used up a TemporaryError would be tried again for nothing: it becomes RunExhausted.
        """
        if isinstance(error, TemporaryError):
            # What fails for now often does so for minutes: each next attempt waits four times as long.
            error.retry_after_seconds = max(error.retry_after_seconds, self._retry_seconds * 4.0 ** (begun.attempt - 1))
        record = self._runs.fail(begun, error)
        is_over = record.state is RunState.FAILED
        if lease is not None and occasion.relay is not None and not is_over:
            lease.detach_quietly(seconds=self._handoff_seconds * PATIENCE)
        else:
            _release(lease)
        told = str(error) if record.error is None else record.error.message
        code = getattr(error, "code", "unexpected")
        event, detail = ("failed", {}) if is_over else ("waiting", {"next_try": _iso(record.next_try_at)})
        detail["error"] = told
        self._note(record.trace, occasion.task, occasion.slot, event, outcome=code, owner=occasion.owner, **detail)
        if is_over and occasion.at_failure is not None:
            occasion.at_failure(self._held(occasion, begun, lease))
        if is_over and isinstance(error, TemporaryError):
            raise RunExhausted(f"{record}: {told}") from error
        if not is_over and isinstance(error, LeaseLost) and occasion.relay is None:
            raise TemporaryError(str(error)) from error

    def _note(
        self, trace: str, task: str, slot: str, event: str, *, outcome: str = "", owner: str = "", **detail: str
    ) -> None:
        self._journal.write(JournalEvent(event, trace, task, slot, outcome=outcome, owner=owner, detail=detail))

    # -- beside the steps ------------------------------------------------------------------------------------------------

    @contextmanager
    def part(self, occasion: Occasion, name: str) -> Iterator[Held]:
        """For one of several tasks that work side by side between two steps: holds the canvas open and its leases.

        A TemporaryError of the block passes, for the part to be tried again alone, as often as a run may be; any other
        error, or its last try, fails the whole run. Raises LeaseLost when the canvas was given up, then or meanwhile:
        whatever else went wrong in it means nothing any more.
        """
        record, start = self._enter_part(occasion, name)
        tokens = occasion.relay.tokens if occasion.relay else {}
        lease = self._leases.attach(owner=_lease_owner(occasion.task, occasion.slot), tokens=tokens)
        held = Held(lease, self._step(occasion, record, start), start, record.started or self._clock.now())
        try:
            self._check_starts(occasion, name, start)
            with _Pulse(lambda: self._keep_open(occasion), every_seconds=self._handoff_seconds / 3):
                yield held
        except Exception as error:
            self._fail_part(occasion, held, name, error)
            raise
        finally:
            # Also after a failure: others of the canvas may still be at work under it.
            lease.detach_quietly(seconds=self._handoff_seconds * PATIENCE)

    def _enter_part(self, occasion: Occasion, name: str) -> tuple[RunRecord, int]:
        self._ensure_open(occasion, name)
        record = self._runs.get(occasion.task, occasion.slot)
        if record is None or occasion.relay is None:
            raise LeaseLost(f"{occasion.task} for {occasion.slot} is no canvas under way; part {name} stops here")
        start = self._runs.count_start(occasion.task, occasion.slot, chain=occasion.relay.chain, part=name)
        return record, start

    def _check_starts(self, occasion: Occasion, name: str, start: int) -> None:
        if start > self._runs.max_attempts:
            raise RunExhausted(
                f"part {name} of {occasion.task} for {occasion.slot} was given up after {start - 1} starts: each time its "
                "worker died or the try failed. Find the cause in the workers' logs, then reset the run"
            )

    def _fail_part(self, occasion: Occasion, held: Held, name: str, error: Exception) -> None:
        """Fails the run for a part that failed for good; raises what is to be told in place of `error`, if it differs."""
        if isinstance(error, LeaseLost):
            return
        self._ensure_open(occasion, name)
        told = error
        if isinstance(error, TemporaryError):
            if held.attempt < self._runs.max_attempts:
                return
            told = RunExhausted(f"part {name} failed {held.attempt} times; the last time: {error}")
        self._give_up(occasion, told)
        if told is not error:
            raise told from error

    def _give_up(self, occasion: Occasion, error: Exception) -> None:
        try:
            begun = self._begin(occasion)
        except RunBusy:
            # Another part fails it at this very moment.
            return
        if isinstance(begun, Started):
            with begun.lease:
                self._fail(occasion, begun, error, None)

    def _ensure_open(self, occasion: Occasion, name: str) -> None:
        if not self._keep_open(occasion):
            raise LeaseLost(f"{occasion.task} for {occasion.slot}: its canvas was given up; part {name} stops here")

    def _keep_open(self, occasion: Occasion) -> bool:
        chain = occasion.relay.chain if occasion.relay else 0
        return self._runs.keep_open(occasion.task, occasion.slot, chain=chain, seconds=self._handoff_seconds)


class _Pulse:
    """Calls `beat` now and then while its block runs. What it raises is left to the next call: the block's own leases
    decide whether it may go on."""

    def __init__(self, beat: Callable[[], object], *, every_seconds: float) -> None:
        self._beat = beat
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canvas pulse", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_seconds):
            try:
                self._beat()
            except TemporaryError:
                continue


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="seconds")


def _lease_owner(task: str, slot: str) -> str:
    return f"{task}:{slot}"


def _release(lease: Lease | None) -> None:
    if lease is not None:
        lease.release()


def _recorded(finished: Finished) -> Any:
    if finished.state is RunState.FAILED:
        error = finished.error
        why = f"{error.code}: {error.message}" if error else "no reason is on record"
        raise PermanentError(
            f"{finished.record} has failed ({why}); mend the cause, then start it for another slot or reset this run"
        )
    return finished.result
