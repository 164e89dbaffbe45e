"""Reports for machines and for people: SARIF by its schema, a page that nothing can break out of, one JSON document."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from audit_cases import NOW
from jsonschema import Draft4Validator

from g3zkp_maint.audit import sarif
from g3zkp_maint.audit.comparison import Comparison
from g3zkp_maint.audit.facts import Unseen
from g3zkp_maint.audit.finding import Finding, Severity
from g3zkp_maint.audit.page import page
from g3zkp_maint.audit.registry import RULES
from g3zkp_maint.audit.report import Report
from g3zkp_maint.audit.rights import Reader
from g3zkp_maint.audit.scan import Skipped
from g3zkp_maint.audit.waivers import Waived, Waiver

#: The schema as the npm package @microsoft/jest-sarif 1.0.0-beta.0 has it (MIT): the last draft before the standard's.
SCHEMA = json.loads((Path(__file__).parent / "sarif-2.1.0-rtm.5.json").read_text())
EVIL = "<script>alert(1)</script>'\"&"


def finding(severity: Severity, object: str, check: str = "workload-root") -> Finding:
    return Finding(check, severity, object, f"seen {EVIL}", "mend it")


def whole() -> Report:
    """With something in each of its parts."""
    new, standing, gone, borne = (
        finding(Severity.CRITICAL, "new"),
        finding(Severity.LOW, "standing"),
        finding(Severity.HIGH, "gone", check="of-an-earlier-version"),
        finding(Severity.MEDIUM, "borne"),
    )
    waiver = Waiver(check="workload-root", object="borne", until=NOW.date(), reason=EVIL)
    return Report(
        at=NOW,
        findings=(new, standing),
        waived=(Waived(borne, waiver),),
        ran=("workload-root",),
        sure=("workload-root",),
        skipped=(Skipped("keys-file-mode", EVIL),),
        unseen=(Unseen("files", "the key files", EVIL, is_meant=False),),
        comparison=Comparison(NOW, (new,), (standing,), (gone,)),
        readers=(Reader(EVIL, ("get secrets",), is_expected=False),),
    )


def first() -> Report:
    """With nothing to compare with, and nothing found."""
    return Report(NOW, (), (), (), (), (), (), None, None)


@pytest.mark.parametrize("report", [whole(), first()], ids=["whole", "first"])
def test_sarif_is_as_its_schema_says(report: Report) -> None:
    document = json.loads(json.dumps(sarif.document(report, RULES)))
    assert document["$schema"] == SCHEMA["id"]
    assert [error.message for error in Draft4Validator(SCHEMA).iter_errors(document)] == []


def test_the_schema_can_tell() -> None:
    document = sarif.document(whole(), RULES)
    document["runs"][0]["results"][0]["level"] = "fatal"
    assert not Draft4Validator(SCHEMA).is_valid(document)


def test_sarif_tells_states_suppressions_and_what_was_not_seen() -> None:
    (run,) = sarif.document(whole(), RULES)["runs"]
    told = {one["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]: one for one in run["results"]}
    assert {name: one.get("baselineState") for name, one in told.items()} == {
        "new": "new",
        "standing": "unchanged",
        "gone": "absent",
        "borne": None,
    }
    assert [name for name, one in told.items() if "suppressions" in one] == ["borne"]
    assert [told[name]["level"] for name in ("new", "standing")] == ["error", "note"]
    assert run["tool"]["driver"]["rules"][told["new"]["ruleIndex"]]["id"] == "workload-root"
    assert len({one["partialFingerprints"]["checkAndObject/v1"] for one in run["results"]}) == 4
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"]["text"].startswith("the key files: ")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        self.seen.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_has_all_of_the_report_and_runs_nothing() -> None:
    tags = _Tags()
    tags.feed(page(whole()))
    assert "script" not in tags.seen
    assert f"seen {EVIL}" in tags.texts
    for heading in ("Findings", "Gone", "Waived", "Not looked at", "Who can read the messenger's keys"):
        assert heading in tags.texts
    assert "failed" in tags.texts


def test_the_page_shows_what_is_as_bad_as_asked_for() -> None:
    assert ">standing</td>" not in page(whole(), Severity.HIGH).partition("Gone")[0]
    assert ">new</td>" in page(whole(), Severity.HIGH)


def test_the_page_says_whether_it_is_of_the_scan_or_of_the_audit() -> None:
    assert "<title>Security scan 2026-03-02</title>" in page(whole())
    assert "<h1>Security audit " in page(whole(), whole=True)
    assert "Security scan" not in page(whole(), whole=True)


def test_json_has_each_part_and_is_json() -> None:
    document: dict[str, Any] = json.loads(json.dumps(whole().as_dict()))
    assert [(one["object"], one["state"]) for one in document["findings"]] == [("new", "new"), ("standing", "standing")]
    assert (document["passed"], document["critical"], document["waived"]) == (False, 1, 1)
    assert [one["object"] for one in document["gone_findings"]] == ["gone"]
    assert document["unseen"][0]["by_settings"] is False
    assert document["keys_readers"][0]["expected"] is False
    assert json.loads(json.dumps(first().as_dict()))["gone_findings"] is None


def test_the_summary_holds_no_evidence_and_few_words() -> None:
    assert EVIL not in json.dumps(whole().summary())
    assert all(value is None or isinstance(value, int) for value in whole().summary().values())
