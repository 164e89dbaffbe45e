"""How the messenger is, once."""

from __future__ import annotations

from typing import Any

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.health.check import check


def observe(services: Services, held: Held) -> dict[str, Any]:
    """The report as a document; the journal tells the outcome and the slowest answer."""
    with held.step("check") as step:
        report = check(services.platform.health_url(), clock=services.clock)
        step.outcome = "ok" if report.is_healthy else "failed"
        step.note(slowest_ms=round(max(one.latency_seconds for one in report.endpoints) * 1000))
    return report.as_dict()
