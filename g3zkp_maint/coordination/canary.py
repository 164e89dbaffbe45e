"""A canary goes through each queue every few minutes and is timed: a worker that no longer consumes is noticed."""

from __future__ import annotations

from datetime import datetime

import redis

from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.connection import reaching


def canary_key(queue: str) -> str:
    """The last arrival (hash: arrived_at, worker, seconds)."""
    return f"g3zkp:canary:{queue}"


class Canaries:
    """When each queue's canary arrived last, and how long it took."""

    def __init__(self, client: redis.Redis, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def arrive(self, queue: str, *, sent: datetime | None, worker: str) -> float | None:
        """Records an arrival. Returns how long it took from its slot, in seconds; None for one without a slot."""
        now = self._clock.now()
        seconds = (now - sent).total_seconds() if sent is not None else None
        took = f"{seconds:.3f}" if seconds is not None else ""
        with reaching(self._client, "record a canary"):
            self._client.hset(
                canary_key(queue), mapping={"arrived_at": now.isoformat(), "worker": worker, "seconds": took}
            )
        return seconds
