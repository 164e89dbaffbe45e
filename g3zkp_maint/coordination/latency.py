"""How long Redis takes to answer."""

from __future__ import annotations

import redis

from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.connection import reaching


def latencies(client: redis.Redis, count: int, *, clock: Clock) -> list[float]:
    """Of `count` PINGs in a row, in seconds, sorted; the first, which may have to connect, is not among them. Raises
    CoordinationUnavailable."""
    found = []
    with reaching(client, "measure how fast it answers"):
        client.ping()
        for _ in range(count):
            began = clock.monotonic()
            client.ping()
            found.append(clock.monotonic() - began)
    return sorted(found)
