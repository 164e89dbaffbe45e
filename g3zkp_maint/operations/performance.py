"""The benchmark: what is measured by the ports of this process, what it is compared with, and who is told."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import httpx

from g3zkp_maint.audit import waivers as waiving
from g3zkp_maint.audit.finding import Finding
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.guard import Guard, Unguarded
from g3zkp_maint.coordination.latency import latencies
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import LeaseLost, MaintenanceError
from g3zkp_maint.health.instances import check_all
from g3zkp_maint.history import run_lines
from g3zkp_maint.lack import Lack
from g3zkp_maint.performance import comparison, history, proof, throughput, volume
from g3zkp_maint.performance.comparison import Comparison, Limits
from g3zkp_maint.performance.figure import Figure, Measurement, Unit
from g3zkp_maint.performance.load import ANSWER_SECONDS, Bounds, load, quantile
from g3zkp_maint.performance.telling import notice
from g3zkp_maint.platforms.base import MESSENGER

TASK = "observe.benchmark"
_PATHS = ("/health", "/ready")
_PINGS = 500
_VOLUME_SECONDS = 120.0
_KEEP_DAYS = 800


def measure(services: Services, slot: str, held: Held) -> dict[str, Any]:
    """The weekly one: journaled, kept for the next, and told where it is worse. A messenger that is not well, or may be
    under maintenance, is left alone: the result says why. What is worse fails no run."""
    with held.step("look") as step:
        reason = obstacle(services)
        step.outcome = "skipped" if reason else "ok"
        step.note(why=reason)
    if reason:
        return {"outcome": "ok", "measured": False, "why": reason}
    with held.step("measure") as step:
        measured = take(services, guard=held.guard)
        step.note(**{one.name: one.value for one in measured.figures})
    held.guard.verify()
    compared = compare(services, measured, besides=slot)
    history.keep(_checkpoint(services), slot, measured)
    worse = findings(services, compared)
    if worse:
        with suppress(MaintenanceError), held.step("notice") as step:
            done = services.notices.send_once(notice(worse, slot=slot, at=measured.at))
            step.note(sent=len(done.sent), already=len(done.already))
    return {
        "outcome": "ok",
        "measured": True,
        **measured.as_dict(),
        "worse": [one.as_dict() for one in worse],
    }


def findings(services: Services, compared: Sequence[Comparison]) -> tuple[Finding, ...]:
    """What is worse, and by no waiver borne. Raises SettingsError for waivers that make no sense."""
    worse = comparison.findings(compared, limits(services))
    waivers = waiving.read(services.settings.audit.waivers)
    # What is borne this week may be as it was in the next: no waiver of it is about nothing.
    known = {one.check for one in waivers}
    return waiving.weigh(worse, waivers, known=known, sure=(), at=services.clock.now()).findings


def obstacle(services: Services) -> str:
    """Why no load may be made now; '' where it may."""
    if services.is_quiet(services.clock.now()):
        return "a maintenance window is open"
    health = services.settings.health
    report = check_all(
        services.platform,
        timeout_seconds=health.timeout_seconds,
        tries=health.tries,
        ask_instances=health.ask_instances,
        clock=services.clock,
    )
    return f"the messenger is not well: {report.problems[0]}" if report.problems else ""


def take(services: Services, *, guard: Guard | None = None) -> Measurement:
    """Measures, one thing after the other, so that none is under the load of another. What cannot be measured is a lack;
    LeaseLost passes."""
    found = _Found()
    for path in _PATHS:
        if not found.add(path.strip("/"), partial(_load, services, path)):
            # What has trouble with one path is left alone.
            found.lacks += [Lack(what, f"{path} failed before it") for what in ("further paths", "volume")]
            return Measurement(services.clock.now(), tuple(found.figures), tuple(found.lacks))
    found.add(proof.NAME, lambda: [_proof(services)])
    found.add("redis", lambda: _redis(services))
    found.add("volume", lambda: _volume(services, guard or Unguarded()))
    found.add(throughput.NAME, lambda: [_throughput(services)])
    return Measurement(services.clock.now(), tuple(found.figures), tuple(found.lacks))


def compare(services: Services, measured: Measurement, *, besides: str = "") -> tuple[Comparison, ...]:
    """With the weekly ones before, but for that of slot `besides`. Raises CoordinationUnavailable."""
    return comparison.compare(history.recall(_checkpoint(services), besides=besides), measured, limits(services))


def earlier(services: Services) -> tuple[Measurement, ...]:
    """The weekly ones, oldest first. Raises CoordinationUnavailable."""
    return history.recall(_checkpoint(services))


def limits(services: Services) -> Limits:
    chosen = services.settings.performance
    return Limits(chosen.worse_percent / 100, chosen.compare_runs, chosen.least_runs)


@dataclass(slots=True)
class _Found:
    figures: list[Figure] = field(default_factory=list)
    lacks: list[Lack] = field(default_factory=list)

    def add(self, what: str, measured: Callable[[], Iterable[Figure | Lack]]) -> bool:
        """Whether it could be measured."""
        try:
            for one in measured():
                self.lacks.append(one) if isinstance(one, Lack) else self.figures.append(one)
        except LeaseLost:
            raise
        except MaintenanceError as error:
            self.lacks.append(Lack(what, str(error)))
            return False
        return True


def _addresses(services: Services) -> list[str]:
    """Of each ready instance: a Service would spread the load over those that it likes. Where instances cannot be reached,
    the messenger's own."""
    if not services.settings.health.ask_instances:
        return [services.platform.health_url()]
    return [f"http://{one.address}" for one in services.platform.instances(MESSENGER) if one.ready and one.address]


def _load(services: Services, path: str) -> Iterable[Figure | Lack]:
    chosen = services.settings.performance
    addresses = _addresses(services)
    bounds = Bounds(chosen.requests, chosen.seconds / max(len(addresses), 1), chosen.rounds, chosen.side_by_side)
    found = [load(address, path, bounds, clock=services.clock) for address in addresses]
    if not found:
        return [Lack(path.strip("/"), "no instance of the messenger is ready")]
    return [_slowest(one) for one in zip(*found, strict=True)]


def _slowest(figures: Iterable[Figure]) -> Figure:
    """Of the same figure of each instance: the one that its users have most cause to complain of."""
    return min(figures, key=lambda one: one.value if one.unit.more_is_better else -one.value)


def _proof(services: Services) -> Figure | Lack:
    texts = []
    with httpx.Client(timeout=ANSWER_SECONDS, trust_env=False) as client:
        for address in _addresses(services):
            try:
                answer = client.get(f"{address}/metrics")
            except httpx.HTTPError as error:
                return Lack(proof.NAME, f"{address}/metrics gave no answer ({type(error).__name__})")
            if answer.status_code == http.client.OK:
                texts.append(answer.text)
    return proof.measured(texts)


def _redis(services: Services) -> Iterable[Figure]:
    seconds = tuple(latencies(services.redis, _PINGS, clock=services.clock))
    return [Figure(f"redis.{label}", quantile(seconds, share), Unit.SECONDS) for label, share in _REDIS.items()]


_REDIS = {"p50": 0.5, "p99": 0.99}


def _volume(services: Services, guard: Guard) -> Iterable[Figure | Lack]:
    chosen = services.settings.performance
    if not chosen.look_into_messenger:
        return [Lack("volume", "performance.look_into_messenger is off")]
    if not chosen.volume_mib:
        return [Lack("volume", "performance.volume_mib is 0")]
    figures, lacks = volume.measure(
        services.platform,
        services.settings.messenger.data_path,
        mebibytes=chosen.volume_mib,
        seconds=_VOLUME_SECONDS,
        guard=guard,
        clock=services.clock,
    )
    return [*figures, *lacks]


def _throughput(services: Services) -> Figure | Lack:
    since = services.clock.now() - timedelta(days=7)
    return throughput.measured(run_lines(services.journal.read(since, task="backup.run")))


def _checkpoint(services: Services) -> RedisCheckpoint:
    return RedisCheckpoint(services.redis, TASK, keep_days=_KEEP_DAYS)
