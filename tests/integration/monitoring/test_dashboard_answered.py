"""The dashboard's questions, put to a real Prometheus that scrapes a running stack."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from monitored_site import Site

from g3zkp_maint.testing.running_stack import wait_for

pytestmark = pytest.mark.integration

DASHBOARD = Path(__file__).parents[3] / "monitoring" / "dashboard" / "g3zkp-maint.json"

#: The embedded stack speaks no TLS.
NOT_THERE = {"When do certificates end?": {"g3zkp_maint_certificate_expiry_timestamp_seconds"}}


def queries() -> list[tuple[str, str]]:
    """Each query as Grafana sends it, with the title of its panel."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [
        (panel["title"], target["expr"].replace("$namespace", ".*"))
        for panel in panels
        for target in panel.get("targets", ())
    ]


def test_every_question_is_answered(site: Site) -> None:
    def unanswered() -> list[str]:
        return [title for title, expr in queries() if not site.prometheus.query(expr) and title not in NOT_THERE]

    wait_for(lambda: not unanswered(), 30, lambda: f"no answer to {unanswered()}")


def test_every_metric_that_is_asked_for_is_told_by_the_exporter_or_the_messenger(site: Site) -> None:
    told = {one["metric"]["__name__"] for one in site.prometheus.query('count by (__name__) ({__name__=~"g3zkp_.+"})')}
    asked = {name for _, expr in queries() for name in re.findall(r"\bg3zkp_\w+", expr)}
    assert asked - told == set().union(*NOT_THERE.values())


def test_the_exporter_sees_all_there_is_of_a_healthy_stack(site: Site) -> None:
    up = {one["metric"]["source"]: one["value"][1] for one in site.prometheus.query("g3zkp_maint_source_up")}
    assert up == dict.fromkeys(("redis", "journal", "store", "secret", "messenger", "windows", "certificates"), "1")
