"""From a worker that dies to whoever is told: through the exporter, a real Prometheus and a real Alertmanager."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from monitored_site import Site

from g3zkp_maint.testing.running_stack import RunningStack, wait_for

pytestmark = pytest.mark.integration

MISSING = {"alertname": "G3ZKPMaintFleetMissing", "queue": "backup"}


def test_the_watchdog_is_delivered(site: Site) -> None:
    wait_for(lambda: any(told(site, "firing", alertname="G3ZKPMaintWatchdog")), 20, lambda: str(site.webhook.posted))


def test_a_killed_fleet_is_told_with_the_runbooks_link_and_its_return_is_too(site: Site) -> None:
    assert not any(told(site, "firing", **MISSING)), "the fleet is there"
    with nobody_restarts(site.stack):
        os.killpg(site.stack.pid("backup"), signal.SIGKILL)
        wait_for(lambda: any(told(site, "firing", **MISSING)), 40, lambda: str(site.alerts()))
    (alert, *_) = told(site, "firing", **MISSING)
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["summary"] == "No worker takes tasks of queue backup"
    assert alert["annotations"]["runbook_url"].endswith("docs/runbook.md#g3zkpmaintfleetmissing")
    assert not any(told(site, "firing", alertname="G3ZKPMaintFleetMissing", queue="crypto")), "the others are there"
    wait_for(lambda: any(told(site, "resolved", **MISSING)), 40, lambda: str(site.alerts()))


def told(site: Site, status: str, **labels: str) -> list[dict[str, Any]]:
    return [one for one in site.alerts() if one["status"] == status and labels.items() <= one["labels"].items()]


@contextmanager
def nobody_restarts(stack: RunningStack) -> Iterator[None]:
    """The supervisor stands still."""
    stack.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stack.process.send_signal(signal.SIGCONT)
