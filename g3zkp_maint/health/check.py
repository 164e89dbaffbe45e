"""Asks the messenger how it is: `/health`, `/ready` and `/metrics`, each with a time limit and some tries.

Hazards: a server that trickles bytes, of its headers too, never trips a limit on single reads, so the limit here is one
deadline around the whole try: connecting, redirects, headers, body. Only a resolver of names that hangs ends by its own
limits. An answer of any size is read to a bound only. No proxy is asked: what is behind one is not what users reach.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from g3zkp_maint.clock import Clock, SystemClock
from g3zkp_maint.errors import BadInput

_BODY_BYTES = 4 << 20
_REDIRECTS = 5
_PAUSE_SECONDS = 0.3
#: What each path's answer must hold beside a status of 2xx.
_EXPECTED = {"/health": b"", "/ready": b"", "/metrics": b"g3zkp_"}


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """One path. `problem` is None when it is well; latency is that of the last try, to its last byte, in seconds."""

    path: str
    problem: str | None
    status: int | None
    latency_seconds: float
    tries: int


@dataclass(frozen=True, slots=True)
class HealthReport:
    """All paths of one messenger."""

    url: str
    endpoints: tuple[EndpointReport, ...]

    @property
    def is_healthy(self) -> bool:
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, a sentence a path."""
        return tuple(f"{one.path}: {one.problem}" for one in self.endpoints if one.problem is not None)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: url, healthy, and each endpoint's fields."""
        return {"url": self.url, "healthy": self.is_healthy, "endpoints": [asdict(one) for one in self.endpoints]}


def check(url: str, *, timeout_seconds: float = 5, tries: int = 3, clock: Clock | None = None) -> HealthReport:
    """The health of the messenger at base address `url`. A messenger that is down is a report, not an error.

    `timeout_seconds` bounds each try of each path from connecting to its last byte, redirects included. Not to be called
    where an event loop runs. Raises BadInput for an address that is none.
    """
    base = _checked(url)
    if tries < 1 or timeout_seconds <= 0:
        raise BadInput(f"tries={tries} and timeout_seconds={timeout_seconds:g} must be positive")
    return asyncio.run(_checked_paths(base, timeout_seconds, tries, clock or SystemClock()))


def await_healthy(url: str, *, deadline_seconds: float, clock: Clock | None = None) -> HealthReport:
    """As `check`, asked again until it is well or the deadline is past: after a start, addresses take a while to lead to
    new instances. Returns the last report."""
    now = clock or SystemClock()
    until = now.monotonic() + deadline_seconds
    while True:
        report = check(url, tries=1, clock=now)
        if report.is_healthy or now.monotonic() >= until:
            return report
        time.sleep(_PAUSE_SECONDS)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise BadInput(f"{url!r} is no address of a messenger; give one like http://127.0.0.1:3000")
    return url.rstrip("/")


async def _checked_paths(base: str, timeout_seconds: float, tries: int, clock: Clock) -> HealthReport:
    async with httpx.AsyncClient(
        timeout=None,  # noqa: S113 - limits of the client are on single reads; one deadline is around each try, in _ask
        follow_redirects=True,
        max_redirects=_REDIRECTS,
        trust_env=False,
    ) as client:
        probe = _Probe(client, base, timeout_seconds, clock)
        return HealthReport(base, tuple([await probe.insist(path, tries) for path in _EXPECTED]))


class _Probe:
    def __init__(self, client: httpx.AsyncClient, base: str, timeout_seconds: float, clock: Clock) -> None:
        self._client = client
        self._base = base
        self._timeout = timeout_seconds
        self._clock = clock

    async def insist(self, path: str, tries: int) -> EndpointReport:
        for number in range(1, tries):
            report = await self._ask(path, number)
            if report.problem is None:
                return report
            await asyncio.sleep(_PAUSE_SECONDS * number)
        return await self._ask(path, tries)

    async def _ask(self, path: str, number: int) -> EndpointReport:
        began = self._clock.monotonic()
        status: int | None = None
        try:
            async with asyncio.timeout(self._timeout), self._client.stream("GET", self._base + path) as response:
                status = response.status_code
                problem = await _judged(path, response)
        except TimeoutError:
            problem = f"the answer was not complete after {self._timeout:g} s"
        except httpx.HTTPError as error:
            problem = f"no answer: {str(error) or type(error).__name__}"
        return EndpointReport(path, problem, status, round(self._clock.monotonic() - began, 6), number)


async def _judged(path: str, response: httpx.Response) -> str | None:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _BODY_BYTES:
            return f"the answer is longer than {_BODY_BYTES} bytes"
    if not response.is_success:
        return f"answered {response.status_code} {response.reason_phrase}".rstrip()
    if _EXPECTED[path] not in body:
        return f"the answer holds no {_EXPECTED[path].decode()}"
    return None
