"""Which workers are there: each says so every few seconds, for every queue that it takes tasks from.

What it says comes from its consumer's own loop, so a worker whose loop hangs falls silent as one that is dead does. One
that lives and is given no task is found by its canary instead. Times are those of the Redis server.
"""

from __future__ import annotations

from collections.abc import Iterable

import redis

from g3zkp_maint.coordination.connection import reaching
from g3zkp_maint.coordination.scripts import Script

#: A worker that was not seen for so many seconds is forgotten: pods have a new name at each start.
FORGOTTEN_SECONDS = 3600


def workers_key(queue: str) -> str:
    """The workers of a queue (sorted set: worker -> when it was there last, in seconds since the epoch)."""
    return f"g3zkp:workers:{queue}"


class Presence:
    """Both methods raise CoordinationUnavailable when Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._report = Script(client, "report_present")

    def report(self, worker: str, queues: Iterable[str]) -> None:
        for queue in queues:
            self._report("say that this worker is there", keys=[workers_key(queue)], args=[worker, FORGOTTEN_SECONDS])

    def leave(self, worker: str, queues: Iterable[str]) -> None:
        """For one that was told to stop: it is not missed as if it had died."""
        with reaching(self._client, "say that this worker stops"):
            for queue in queues:
                self._client.zrem(workers_key(queue), worker)
