from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination import Leases, connect

#: Short enough to see a lease run out, long enough for two busy cores.
TTL_SECONDS = 1.5


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def make_leases(client: redis.Redis) -> Callable[..., Leases]:
    def make(ttl_seconds: float = TTL_SECONDS, **options: float) -> Leases:
        return Leases(client, clock=SystemClock(), ttl_seconds=ttl_seconds, renew_seconds=ttl_seconds / 3, **options)

    return make
