"""What every task has in common, in one place: its run record, its retries, and what of an error leaves the worker.

A task is a few lines: it turns its arguments into the domain's words and calls `conducted` with one domain function.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import structlog
from celery import Task
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.lease import Mode
from g3zkp_maint.coordination.occasion import Held, Occasion, Relay
from g3zkp_maint.errors import (
    BadInput,
    DeadlineExceeded,
    LeaseBusy,
    LeaseLost,
    MaintenanceError,
    PermanentError,
    RunBusy,
    TemporaryError,
)
from workers.app import app

_log = structlog.get_logger(__name__)

#: Options that `maintenance_task` takes; Celery would ignore a misspelt one in silence.
_OPTIONS = frozenset({"ignore_result", "soft_time_limit", "time_limit", "expires"})


def maintenance_task(name: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Registers a bound task under `name` (queue, dot, verb). Raises BadInput for an option that does not exist."""
    unknown = set(options) - _OPTIONS
    if unknown:
        raise BadInput(f"task {name}: unknown options {sorted(unknown)}; there are {sorted(_OPTIONS)}")

    def register(function: Callable[..., Any]) -> Any:
        return app.task(name=name, bind=True, base=MaintenanceTask, max_retries=None, **options)(function)

    return register


class MaintenanceTask(Task):  # type: ignore[misc]  # Celery publishes no types
    """Lets only the product's own errors out: the text of any other could hold a secret, and results are for all to
    read. What was withheld is in the worker's log."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except (Ignore, Reject, Retry, MaintenanceError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told without its text
            _log.exception("task-failed-unexpectedly", task=self.name, error=type(error).__name__)
            withheld = f"{self.name} failed unexpectedly with {type(error).__name__}; its text is in the worker's log"
            raise PermanentError(withheld) from None


# -- the services of this process -----------------------------------------------------------------------------------------

_services: tuple[int, Services] | None = None


def services() -> Services:
    """The services of this process, made when first asked for; a forked child makes its own."""
    global _services  # noqa: PLW0603 - one composition root a process
    if _services is None or _services[0] != os.getpid():
        _services = (os.getpid(), Services())
    return _services[1]


# -- runs -----------------------------------------------------------------------------------------------------------------


def conducted(
    task: Task,
    slot: str | None,
    body: Callable[[Held], Any],
    *,
    wants: Mapping[str, Mode] | None = None,
    run: str | None = None,
    relay: Mapping[str, Any] | None = None,
    at_failure: Callable[[Held], None] | None = None,
) -> Any:
    """Performs `body` as the run of `task` (or, in a step of a canvas, of the task `run`) for `slot`, and returns its
    result; without a slot each call is a run of its own. What may pass is tried again later; what another has taken
    over is left without a trace. `at_failure` is called once the run has failed for good.
    """
    occasion = _occasion(task, slot, wants or {}, run, relay, at_failure)

    def limited(held: Held) -> Any:
        # Around the body alone: the run's record must tell of the limit, not of Celery's exception.
        with _soft_limit(task):
            return body(held)

    try:
        return services().conductor.perform(occasion, limited)
    except TemporaryError as error:
        raise retried(task, error) from error
    except LeaseLost as error:
        _log.warning("task-gave-way", task=task.name, slot=occasion.slot, reason=str(error))
        raise Ignore from error


@contextmanager
def part(
    task: Task,
    slot: str,
    name: str,
    *,
    wants: Mapping[str, Mode],
    run: str,
    relay: Mapping[str, Any],
    at_failure: Callable[[Held], None] | None = None,
) -> Iterator[Held]:
    """For a task that works beside others between two steps of a canvas. One that fails in a way that may pass is tried
    again alone; one that fails for good fails the whole run."""
    occasion = _occasion(task, slot, wants, run, relay, at_failure)
    try:
        with services().conductor.part(occasion, name) as held, _soft_limit(task):
            yield held
    except TemporaryError as error:
        raise retried(task, error) from error
    except LeaseLost as error:
        _log.warning("task-gave-way", task=task.name, slot=slot, part=name, reason=str(error))
        raise Ignore from error
    except Exception:
        _tell_who_waits(occasion)
        raise


def _tell_who_waits(occasion: Occasion) -> None:
    """Sends the run's own message once more: it finds that the run has failed, and its result says so. The canvas's
    would come when all parts have ended, which those of a run that has failed never do."""
    record = services().runs.get(occasion.task, occasion.slot)
    if record is not None:
        enqueue(record.signature)


def retried(task: Task, error: TemporaryError) -> Retry:
    """Puts the task back with a pause: the error's own; or, for what is busy, the settings', as that may end any time."""
    pause = error.retry_after_seconds
    if isinstance(error, LeaseBusy | RunBusy):
        pause = min(pause, services().settings.coordination.retry_seconds)
    return cast("Retry", task.retry(exc=error, countdown=pause, max_retries=None, throw=False))


@contextmanager
def _soft_limit(task: Task) -> Iterator[None]:
    try:
        yield
    except SoftTimeLimitExceeded:
        raise DeadlineExceeded(
            f"{task.name} ran into its soft time limit; see why it takes so long, or raise the limit"
        ) from None


def _occasion(
    task: Task,
    slot: str | None,
    wants: Mapping[str, Mode],
    run: str | None,
    relay: Mapping[str, Any] | None,
    at_failure: Callable[[Held], None] | None,
) -> Occasion:
    request = task.request
    return Occasion(
        task=run or task.name,
        slot=slot or call_key(task),
        owner=str(request.hostname or "shell"),
        signature=json.dumps(task.signature_from_request(request, countdown=0)),
        task_id=str(request.id),
        wants=wants,
        relay=Relay.from_json(relay) if relay else None,
        at_failure=at_failure,
    )


def call_key(task: Task) -> str:
    """The key of a run that is for no slot: each call is one of its own, and the same one when it comes again."""
    return f"call-{task.request.id}"


def superseded(task: Task, slot: str | None, *, by: str, label: str) -> Any:
    """Records that this run gives way to the calendar entry `by`. Its record is not the one of the slot's own run."""
    return services().conductor.supersede(f"{task.name}-{label}", slot or call_key(task), by=by)


def enqueue(signature: str) -> None:
    """Sends a message that a run record has kept, with the same task id: whoever waits for its result gets it."""
    app.signature(json.loads(signature)).apply_async()
