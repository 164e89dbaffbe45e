from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import fakeredis
import pytest

from g3zkp_maint.coordination import Lease, Leases


class HandClock:
    """A clock that moves only when a test says so."""

    def __init__(self) -> None:
        self.moment = datetime(2031, 3, 2, 2, 0, tzinfo=UTC)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        self.seconds += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def client() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis(decode_responses=True)


@pytest.fixture
def leases(client: fakeredis.FakeRedis, clock: HandClock) -> Leases:
    return Leases(client, clock=clock, ttl_seconds=60, renew_seconds=20)


@pytest.fixture
def acquire(leases: Leases) -> Iterator[Callable[..., Lease]]:
    """`leases.acquire`; what a test leaves held is given back after it, so that no thread stays."""
    held: list[Lease] = []

    def take(wants: dict[str, str], **options: object) -> Lease:
        lease = leases.acquire(wants, **options)
        held.append(lease)
        return lease

    yield take
    for lease in held:
        lease.release()
