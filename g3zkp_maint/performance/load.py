"""A bounded load on one path of the messenger, in rounds: how long answers take, and how many come in a second.

Hazards: one round alone tells more of its moment than of the messenger, so a figure is the median over rounds. The load
ends at its count or its time, whichever comes first, and at the first round in which an answer fails: a messenger that
has trouble is left alone. The standard library's client adds less of its own to a latency than one with pools.
"""

from __future__ import annotations

import http.client
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import LoadFailed
from g3zkp_maint.performance.figure import Figure, Unit

#: Of each answer. Slower ones are the health check's business.
ANSWER_SECONDS = 5.0
_BODY_BYTES = 1 << 20
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a load on one path: at most `requests` in all and `seconds`, in so many `rounds`, so many `side_by_side`."""

    requests: int
    seconds: float
    rounds: int
    side_by_side: int


@dataclass(frozen=True, slots=True)
class Round:
    """`latencies` of its answers in seconds, sorted; it took `seconds` as a whole."""

    latencies: tuple[float, ...]
    seconds: float


def load(url: str, path: str, bounds: Bounds, *, clock: Clock) -> tuple[Figure, ...]:
    """Latency and throughput of `path` (`/health`) at base address `url`. Raises LoadFailed where an answer fails, or
    none came within the time."""
    until = clock.monotonic() + bounds.seconds
    rounds = []
    for number, requests in enumerate(_shares(bounds.requests, bounds.rounds)):
        share = (until - clock.monotonic()) / (bounds.rounds - number)
        one = _round(url, path, _shares(requests, bounds.side_by_side), clock.monotonic() + share, clock)
        if one.latencies:
            rounds.append(one)
    if not rounds:
        raise LoadFailed(f"{url}{path} gave no answer within {bounds.seconds:g} s; see `g3zkp-maint health check`")
    return figures(path.strip("/"), rounds)


def figures(name: str, rounds: list[Round]) -> tuple[Figure, ...]:
    """Of rounds that each have answers: the median over rounds of each quantile and of the answers in a second."""
    found = [
        Figure(f"{name}.{label}", statistics.median(quantile(one.latencies, share) for one in rounds), Unit.SECONDS)
        for label, share in _QUANTILES.items()
    ]
    rate = statistics.median(len(one.latencies) / one.seconds for one in rounds)
    return (*found, Figure(f"{name}.rate", rate, Unit.PER_SECOND))


def quantile(values: tuple[float, ...], share: float) -> float:
    """By the nearest rank, of `values` sorted and not empty: one that was measured."""
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


def _shares(requests: int, parts: int) -> list[int]:
    """As even as can be; together just so many. Parts of nothing are left out."""
    shares = [requests // parts + (number < requests % parts) for number in range(parts)]
    return [one for one in shares if one]


def _round(url: str, path: str, shares: Sequence[int], until: float, clock: Clock) -> Round:
    began = clock.monotonic()
    with ThreadPoolExecutor(len(shares)) as pool:
        asked = [pool.submit(_ask, url, path, share, until, clock) for share in shares]
        latencies = sorted(one for answered in asked for one in answered.result())
    return Round(tuple(latencies), max(clock.monotonic() - began, 1e-9))


def _ask(url: str, path: str, count: int, until: float, clock: Clock) -> list[float]:
    latencies = []
    with _connected(url) as connection:
        for _ in range(count):
            began = clock.monotonic()
            if began >= until:
                break
            _answered(connection, url, path)
            latencies.append(clock.monotonic() - began)
    return latencies


@contextmanager
def _connected(url: str) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.netloc, timeout=ANSWER_SECONDS)
    try:
        yield connection
    finally:
        connection.close()


def _answered(connection: http.client.HTTPConnection, url: str, path: str) -> None:
    try:
        connection.request("GET", urlsplit(url).path.rstrip("/") + path)
        answer = connection.getresponse()
        # To its end, or the connection cannot serve again.
        while answer.read(_BODY_BYTES):
            pass
    except (OSError, http.client.HTTPException) as error:
        raise LoadFailed(
            f"{url}{path} failed under load ({type(error).__name__}); the load ended. See `g3zkp-maint health check`"
        ) from error
    if answer.status != http.client.OK:
        raise LoadFailed(
            f"{url}{path} answered {answer.status} under load; the load ended. See `g3zkp-maint health check`"
        )
