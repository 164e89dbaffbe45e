"""What the fleets do for themselves: canaries, and the reaper. They keep no run records; there would be thousands."""

from __future__ import annotations

from typing import Any

from g3zkp_maint.calendar.slot import parse_slot
from g3zkp_maint.coordination.canary import Canaries
from g3zkp_maint.coordination.occasion import PATIENCE
from g3zkp_maint.coordination.reaper import Queues, reap
from workers.task import enqueue, services


def canary_arrived(task: Any, slot: str | None) -> dict[str, Any]:
    """Records that the canary of this task's queue has come, and how long it took."""
    queue = task.name.partition(".")[0]
    canaries = Canaries(services().redis, clock=services().clock)
    sent = parse_slot(slot) if slot else None
    return {"queue": queue, "seconds": canaries.arrive(queue, sent=sent, worker=str(task.request.hostname or "shell"))}


def reap_runs() -> dict[str, Any]:
    """Enqueues the runs of dead workers again."""
    made = services()
    # The broker is this Redis, and a queue a list of that name (kombu).
    queues = Queues(
        backlog=lambda queue: int(made.redis.llen(queue)),
        patience_seconds=made.settings.coordination.handoff_seconds * PATIENCE,
    )
    found = reap(made.runs, made.journal, enqueue=enqueue, queues=queues, now=made.clock.now())
    return {"requeued": found.requeued, "given_up": found.given_up}
