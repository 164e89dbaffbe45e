"""The observe fleet: it only reads, and writes reports; it finds the runs of dead workers, as the fleet least likely to be
one of them."""

from __future__ import annotations

from functools import partial
from typing import Any

from g3zkp_maint.operations import audit, dependencies, performance, report, windows
from g3zkp_maint.operations import health as operations
from workers.task import call_key, conducted, maintenance_task, services
from workers.upkeep import canary_arrived, reap_runs


@maintenance_task("observe.health")
def health(self: Any, *, slot: str | None = None) -> Any:
    """Asks the messenger how it is. The result tells; a messenger that is not well is no failure of this task."""
    return conducted(self, slot, partial(operations.observe, services()))


@maintenance_task("observe.window_notices")
def window_notices(self: Any, *, slot: str | None = None) -> Any:
    """Looks after the maintenance windows: people are told, alerts silenced, what the settings have changed is saved."""
    return conducted(self, slot, partial(windows.tend, services()))


@maintenance_task("observe.security_scan")
def security_scan(self: Any, *, slot: str | None = None) -> Any:
    """How the messenger and its maintenance are confined, and who may do what. What is found fails no run."""
    key = slot or call_key(self)
    return conducted(self, key, partial(audit.scan, services(), key))


@maintenance_task("observe.security_audit")
def security_audit(self: Any, *, slot: str | None = None) -> Any:
    """The scan, and all that takes longer. The run is `failed` where a critical finding counts."""
    key = slot or call_key(self)
    return conducted(self, key, partial(audit.audit, services(), key))


@maintenance_task("observe.benchmark")
def benchmark(self: Any, *, slot: str | None = None) -> Any:
    """How fast the messenger is, and whether that has become worse. What is worse fails no run."""
    key = slot or call_key(self)
    return conducted(self, key, partial(performance.measure, services(), key))


@maintenance_task("observe.check_dependencies")
def check_dependencies(self: Any, *, slot: str | None = None) -> Any:
    """What there is newer of packages and images. Nothing is upgraded."""
    key = slot or call_key(self)
    return conducted(self, key, partial(dependencies.check, services(), key))


@maintenance_task("observe.weekly_report")
def weekly_report(self: Any, *, slot: str | None = None) -> Any:
    """The report of the week before the slot's: into the store, and a notice of it."""
    key = slot or call_key(self)
    return conducted(self, key, partial(report.weekly, services(), key))


@maintenance_task("observe.reap", ignore_result=True)
def reap(self: Any, *, slot: str | None = None) -> Any:  # noqa: ARG001 - every calendar task is given its slot
    """Runs of dead workers are enqueued again."""
    return reap_runs()


@maintenance_task("observe.canary", ignore_result=True)
def canary(self: Any, *, slot: str | None = None) -> Any:
    """Shows that this queue is consumed, and how fast."""
    return canary_arrived(self, slot)
