"""The cleanup fleet: expired data goes, as a canvas: plan, then messages, proofs, sessions and compaction one after another.

from workers.cleanup import run
run.delay().get()              # {"outcome": "ok", "messages": 812, …, "freed_bytes": 1048576}
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from celery import chain

from g3zkp_maint.cleanup.plan import CleanupRequest, StepName
from g3zkp_maint.coordination.lease import DATA, Mode
from g3zkp_maint.coordination.occasion import HandOver
from g3zkp_maint.operations import cleanup as operations
from workers.task import call_key, conducted, maintenance_task, part, services
from workers.upkeep import canary_arrived

#: Alone on the data: never beside a backup, which would find half of it, nor beside a restore.
WANTS = {DATA: Mode.EXCLUSIVE}


@maintenance_task(operations.TASK)
def run(self: Any, dry_run: bool = False, *, slot: str | None = None, **asked: Any) -> Any:
    """Deletes what has expired. `messages_days`, `proofs_days`, `sessions_hours` in place of the settings'; below their
    floors with `force` and a `reason`. `dry_run` tells what would be deleted."""
    request = CleanupRequest.parse(asked)
    key = slot or call_key(self)
    if dry_run:
        return conducted(self, key, lambda _: operations.preview(services(), request))
    begun = conducted(self, key, partial(operations.plan, services(), request, key), wants=WANTS)
    return self.replace(_canvas(key, begun)) if isinstance(begun, HandOver) else begun


def _canvas(key: str, begun: HandOver) -> Any:
    common = {"slot": key, "relay": begun.relay.as_json() if begun.relay else {}}
    # The last takes the id of the run's own message: without a shadow Flower and logs would show that under its name.
    last = report.si(**common).set(shadow=operations.TASK)
    return chain(*(take.si(name, **common) for name in begun.payload["steps"]), last)


@maintenance_task("cleanup.step")
def take(self: Any, name: str, *, slot: str, relay: Mapping[str, Any]) -> Any:
    """Takes one step; tried again alone. One that fails for good does not fail the run: its report tells."""
    with part(self, slot, name, wants=WANTS, run=operations.TASK, relay=relay) as held:
        return operations.take(services(), StepName(name), slot, held)


@maintenance_task("cleanup.report")
def report(self: Any, *, slot: str, relay: Mapping[str, Any]) -> Any:
    """Ends the run."""
    body = partial(operations.report, services(), slot)
    return conducted(self, slot, body, wants=WANTS, run=operations.TASK, relay=relay)


@maintenance_task("cleanup.canary", ignore_result=True)
def canary(self: Any, *, slot: str | None = None) -> Any:
    """Shows that this queue is consumed, and how fast."""
    return canary_arrived(self, slot)
