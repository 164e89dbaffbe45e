"""What Redis says of this very moment, in one round trip: queues, canaries, workers, beat, leases. It only reads.

For metrics, which are asked for every few seconds: its cost does not grow with the number of runs that there have been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from g3zkp_maint.coordination import keys
from g3zkp_maint.coordination.canary import canary_key
from g3zkp_maint.coordination.connection import reaching
from g3zkp_maint.coordination.dispatch import LOCK_KEY, TICK_KEY
from g3zkp_maint.coordination.lease import RESOURCES, Holding, Leases
from g3zkp_maint.coordination.presence import workers_key

#: Of Celery's Redis transport: messages given to a worker and not acknowledged, of all queues (hash).
UNACKNOWLEDGED = "unacked"


@dataclass(frozen=True, slots=True)
class QueueGlance:
    """`messages` wait; `workers` were there within the asked-for time; the canary's arrival is None where none has come,
    and its duration, in seconds, where it had no slot."""

    messages: int
    workers: int
    canary_arrived: datetime | None
    canary_seconds: float | None


@dataclass(frozen=True, slots=True)
class Glance:
    """`unacknowledged` messages are with workers; `open_runs` are not at their end; `waiters` queue for a lease, by
    resource; beat's times are None where it never ticked, or published nothing."""

    queues: Mapping[str, QueueGlance]
    unacknowledged: int
    open_runs: int
    holdings: Sequence[Holding]
    waiters: Mapping[str, int]
    beat_ticked: datetime | None
    beat_published: datetime | None
    beat_lock_held: bool


def glance(client: redis.Redis, leases: Leases, queues: Sequence[str], *, present_seconds: float) -> Glance:
    """A worker counts as there when it said so within `present_seconds`. Raises CoordinationUnavailable."""
    with reaching(client, "look at queues and workers"):
        now = float(client.time()[0])
        pipeline = client.pipeline(transaction=False)
        for queue in queues:
            # The broker is this Redis, and a queue a list of that name (kombu).
            pipeline.llen(queue)
            pipeline.zcount(workers_key(queue), now - present_seconds, "+inf")
            pipeline.hgetall(canary_key(queue))
        pipeline.hlen(UNACKNOWLEDGED)
        pipeline.zcard(keys.OPEN_RUNS)
        pipeline.hgetall(TICK_KEY)
        pipeline.exists(LOCK_KEY)
        for resource in RESOURCES:
            pipeline.hlen(keys.waiters(resource))
        answers = pipeline.execute()
    unacknowledged, open_runs, tick, lock, *waiting = answers[3 * len(queues) :]
    return Glance(
        queues={queue: _queue(*answers[3 * at : 3 * at + 3]) for at, queue in enumerate(queues)},
        unacknowledged=int(unacknowledged),
        open_runs=int(open_runs),
        holdings=leases.holders(),
        waiters=dict(zip(RESOURCES, map(int, waiting), strict=True)),
        beat_ticked=_moment(tick.get("ticked_at")),
        beat_published=_moment(tick.get("published_at")),
        beat_lock_held=bool(lock),
    )


def _queue(messages: int, workers: int, canary: Mapping[str, Any]) -> QueueGlance:
    seconds = canary.get("seconds")
    return QueueGlance(
        int(messages), int(workers), _moment(canary.get("arrived_at")), float(seconds) if seconds else None
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
