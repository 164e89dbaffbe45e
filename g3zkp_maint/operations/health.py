"""How the messenger is: one look, what it does to the state, and what is told of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import MaintenanceError
from g3zkp_maint.health import state as states
from g3zkp_maint.health.instances import WholeReport, check_all
from g3zkp_maint.health.state import HealthState

_KEEP_DAYS = 366


def observe(services: Services, held: Held) -> dict[str, Any]:
    """One look. The journal tells its outcome and the latencies; whoever is to be told is told, and where that fails the
    next look tells: it fails no run."""
    settings = services.settings.health
    with held.step("check") as step:
        report = check_all(
            services.platform,
            timeout_seconds=settings.timeout_seconds,
            tries=settings.tries,
            ask_instances=settings.ask_instances,
            clock=services.clock,
        )
        level, problems = states.judge(report, settings)
        before = known(services)
        after = states.advance(before, level, problems, at=services.clock.now(), settings=settings)
        step.outcome = "failed" if problems else "ok"
        step.note(found=str(level), state=str(after.level), problems=len(problems), **latencies_ms(report))
    held.guard.verify()
    _keep(services, after)
    _tell(services, after, held)
    return {
        **report.service.as_dict(),
        "healthy": not problems,
        "found": str(level),
        "state": str(after.level),
        "since": after.since.isoformat(),
        "problems": list(problems),
        "instances": len(report.instances),
        "desired": report.desired,
    }


def known(services: Services) -> HealthState:
    """The state after the last look. Raises CoordinationUnavailable."""
    kept = _checkpoint(services).load().get("state")
    return HealthState.model_validate(kept) if kept else HealthState.unknown(services.clock.now())


def latencies_ms(report: WholeReport) -> dict[str, int]:
    """Of the messenger's address: each path's, and the slowest."""
    found = {f"{one.path.strip('/')}_ms": round(one.latency_seconds * 1000) for one in report.service.endpoints}
    return {**found, "slowest_ms": max(found.values(), default=0)}


def _tell(services: Services, state: HealthState, held: Held) -> None:
    notice = states.due(state, services.settings.health)
    if notice is None or services.is_quiet(state.at):
        return
    with suppress(MaintenanceError), held.step("notice") as step:
        done = services.notices.send_once(notice)
        step.note(key=notice.key, sent=len(done.sent), already=len(done.already))
        _keep(services, states.told(state))


def _keep(services: Services, state: HealthState) -> None:
    _checkpoint(services).save(state=state.model_dump(mode="json"))


def _checkpoint(services: Services) -> RedisCheckpoint:
    return RedisCheckpoint(services.redis, "observe.health", keep_days=_KEEP_DAYS)
