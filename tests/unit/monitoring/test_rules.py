"""The rules for Prometheus, proved by its own tool."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from g3zkp_maint.metrics.catalog import METRICS
from g3zkp_maint.settings import load

ROOT = Path(__file__).parents[3]
RULES = ROOT / "monitoring" / "rules" / "g3zkp.yml"
CASES = tuple(sorted(RULES.parent.glob("test_*.yml")))
#: What stands within the runbook's sentence where an alert has a label at times only.
WITHIN = {"G3ZKPMaintRotationOverdue": "TYPE", "G3ZKPMaintExporterDown": "NAMESPACE"}


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def cases() -> Iterator[dict[str, Any]]:
    for file in CASES:
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            yield from test.get("alert_rule_test", ())


def promtool(program: str, *arguments: str) -> None:
    command = [program, *arguments]
    done = subprocess.run(command, cwd=RULES.parent, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_passes_the_rules(require_program: Callable[[str], str]) -> None:
    promtool(require_program("promtool"), "check", "rules", RULES.name)


@pytest.mark.integration
def test_every_case_of_the_rules_holds(require_program: Callable[[str], str]) -> None:
    promtool(require_program("promtool"), "test", "rules", *(file.name for file in CASES))


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    fires, silent = set(), set()
    for case in cases():
        (fires if case.get("exp_alerts") else silent).add(case["alertname"])
    assert set(alerts()) - fires == set()
    # The watchdog fires always: that is what it is for.
    assert set(alerts()) - silent - {"G3ZKPMaintWatchdog"} == set()


def test_what_a_firing_alert_says_is_expected_word_by_word() -> None:
    for case in cases():
        for expected in case.get("exp_alerts") or ():
            written = alerts()[case["alertname"]]["annotations"]
            assert set(expected["exp_annotations"]) == set(written), case["alertname"]
            assert expected["exp_annotations"]["runbook_url"] == written["runbook_url"]


def test_each_alert_is_explained_in_the_runbook_where_its_link_leads() -> None:
    headings = re.findall(r"^#+ (\w+)$", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    for name, rule in alerts().items():
        assert name in headings
        assert rule["annotations"]["runbook_url"].endswith(f"docs/runbook.md#{name.lower()}")


@pytest.mark.parametrize("name", sorted(alerts()))
def test_the_runbook_begins_with_what_the_alert_says_and_goes_on_with_what_to_do(name: str) -> None:
    rule, page = alerts()[name], (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    section = page.partition(f"\n#### {name}\n\n")[2].partition("\n#")[0]
    said = re.sub(
        r"{{ with .+? }}(.*){{ \. }}(.*){{ end }}", rf"\1{WITHIN.get(name, '')}\2", rule["annotations"]["summary"]
    )
    said = re.sub(r"{{ \$labels\.(\w+) }}", lambda label: label[1].upper(), said)
    beginning = f"{said} ({rule['labels']['severity']}). "
    assert section.replace("\n", " ").startswith(beginning)
    to_do = section[len(beginning) :]
    assert len(to_do.split()) > 5
    assert to_do.strip().endswith((".", "?).")), "a whole sentence"


@pytest.mark.parametrize(
    ("name", "limit", "lasting", "severity"),
    [
        ("G3ZKPHighErrorRate", "> 0.1", "5m", "critical"),
        ("G3ZKPHighLatency", "> 2", "5m", "warning"),
        ("G3ZKPProofGenerationSlow", "> 30", "2m", "warning"),
        ("G3ZKPLowDiskSpace", "> 85", "10m", "warning"),
        ("G3ZKPSecurityAuditFailed", "== 0", "1m", "critical"),
    ],
)
def test_alerts_on_the_messenger_are_those_of_the_protocols(name: str, limit: str, lasting: str, severity: str) -> None:
    rule = alerts()[name]
    assert re.findall(r"(?:[<>]=?|[=!]=) *[\d.]+", rule["expr"]) == [limit]
    assert (rule["for"], rule["labels"]) == (lasting, {"severity": severity})


def test_alerts_that_windows_name_are_in_the_rules_and_a_messenger_under_maintenance_wakes_nobody() -> None:
    windows = load().windows
    assert {*windows.holding_alerts, *windows.silenced_alerts} <= set(alerts())
    assert "G3ZKPMessengerUnhealthy" in windows.silenced_alerts


def test_the_rules_ask_for_metrics_that_there_are() -> None:
    ours = {metric.name for metric in METRICS}
    asked = set(re.findall(r"g3zkp_maint_\w+", " ".join(rule["expr"] for rule in alerts().values())))
    assert asked - ours == set()
