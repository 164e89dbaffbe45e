"""The dashboard: what code makes of questions and rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_rules import ROOT, alerts

from monitoring.dashboard.grafana import as_json
from monitoring.dashboard.limits import Limit, limits
from monitoring.dashboard.question import Question
from monitoring.dashboard.questions import ENTRY_LIMIT, KEY_LIMIT, ROWS

QUESTIONS = [question for row in ROWS for question in row.questions]
WRITTEN = (ROOT / "monitoring" / "dashboard" / "g3zkp-maint.json").read_text(encoding="utf-8")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(WRITTEN)["panels"] if panel["type"] != "row"]


def test_the_file_is_what_the_code_makes() -> None:
    assert as_json() == WRITTEN, "run `make dashboards`"


def test_each_panel_is_a_question_that_is_asked_once_and_explained() -> None:
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    for panel in panels():
        assert panel["title"].endswith("?")
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_query_asks_for_the_installation_that_is_chosen() -> None:
    for panel in panels():
        for target in panel["targets"]:
            assert "$namespace" in target["expr"] or "G3ZKPMaintWatchdog" in target["expr"], panel["title"]


@pytest.mark.parametrize("question", [one for one in QUESTIONS if one.alert], ids=lambda one: one.alert)
def test_a_panel_turns_red_where_its_alert_begins(question: Question) -> None:
    (panel,) = (one for one in panels() if one["title"] == question.title)
    below, above = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    limit = limits()[question.alert]
    assert above["value"] == limit.value
    assert (below["color"], above["color"]) == (("red", "green") if limit.is_low else ("green", "red"))


def test_limits_are_read_from_the_rules() -> None:
    found = limits()
    assert found["G3ZKPHighErrorRate"] == Limit(0.1)
    assert found["G3ZKPMaintBackupStale"] == Limit(30 * 3600)
    assert found["G3ZKPMaintFleetMissing"] == Limit(1, is_low=True)
    assert found["G3ZKPMaintBackupDistrusted"] == Limit(1)
    assert found["G3ZKPMaintCertificateExpiring"] == Limit(14 * 86400, is_low=True)
    assert "G3ZKPMaintBackupMissed" not in found, "that is no number"


def test_shares_of_a_limit_are_of_the_limit_that_the_rules_have() -> None:
    for name in ("G3ZKPMaintBackupMissed", "G3ZKPMaintCleanupNotRun", "G3ZKPMaintTaskOverdue"):
        assert ENTRY_LIMIT in alerts()[name]["expr"]
    assert KEY_LIMIT in alerts()["G3ZKPMaintRotationOverdue"]["expr"]
