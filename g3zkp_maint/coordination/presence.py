"""Which workers and dispatchers are there: each says so every few seconds, a worker for every queue that it takes tasks
from, a dispatcher under BEAT.

What it says comes from its own loop, so one whose loop hangs falls silent as one that is dead does. Times are those of the
Redis server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import redis

from g3zkp_maint.coordination.connection import reaching
from g3zkp_maint.coordination.scripts import Script

#: Where dispatchers of the calendar say that they are there, each when a look at the calendar is done.
BEAT = "beat"

#: A worker that was not seen for so many seconds is forgotten: pods have a new name at each start.
FORGOTTEN_SECONDS = 3600


def workers_key(queue: str) -> str:
    """The workers of a queue (sorted set: worker -> when it was there last, in seconds since the epoch)."""
    return f"g3zkp:workers:{queue}"


class Presence:
    """All methods raise CoordinationUnavailable when Redis is away."""

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

    def silence(self, queue: str) -> dict[str, float]:
        """How long ago, in seconds, each worker of a queue said that it is there; forgotten ones are left out."""
        with reaching(self._client, "see which workers are there"):
            now = int(self._client.time()[0])
            seen = cast(
                "list[tuple[bytes | str, float]]", self._client.zrange(workers_key(queue), 0, -1, withscores=True)
            )
        return {str(worker): max(0.0, now - at) for worker, at in seen}

    def backlog(self, queues: Iterable[str]) -> int:
        """How many messages wait in them for a worker. The broker is this Redis, and a queue a list of that name (kombu)."""
        with reaching(self._client, "count the messages that wait"):
            return sum(int(self._client.llen(queue)) for queue in queues)
