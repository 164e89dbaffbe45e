"""A report as SARIF 2.1.0 (docs.oasis-open.org/sarif/sarif/v2.1.0), which code hosts and viewers of findings read.

Waived findings are suppressed ones, gone ones are absent, and what could not be looked at is a notification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from g3zkp_maint import __version__
from g3zkp_maint.audit.check import Rule
from g3zkp_maint.audit.finding import Finding, Severity
from g3zkp_maint.audit.report import Report

#: The one that the tests hold it to: of 2.1.0 the last draft.
SCHEMA = "https://raw.githubusercontent.com/schemastore/schemastore/master/src/schemas/json/sarif-2.1.0-rtm.5.json"

_LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}
#: As code hosts sort by: a number up to 10, in text.
_SCORES = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.0", Severity.LOW: "2.0"}


def document(report: Report, rules: Sequence[Rule]) -> dict[str, Any]:
    """One run. `rules` are all that the tool has."""
    places = {rule.id: place for place, rule in enumerate(rules)}
    states = {"new": "new", "standing": "unchanged", "": None}
    results = [_result(one, places, states[report.state_of(one)]) for one in report.findings]
    for waived in report.waived:
        suppression = {"kind": "external", "status": "accepted", "justification": waived.waiver.reason}
        results.append({**_result(waived.finding, places, None), "suppressions": [suppression]})
    gone = report.comparison.gone if report.comparison else ()
    results += [_result(one, places, "absent") for one in gone]
    driver = {
        "name": "g3zkp-maint",
        "semanticVersion": __version__,
        "rules": [_rule(rule) for rule in rules],
    }
    notifications = [{"level": "warning", "message": {"text": f"{one.what}: {one.why}"}} for one in report.unseen]
    invocation = {
        "executionSuccessful": True,
        "endTimeUtc": report.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "toolExecutionNotifications": notifications,
    }
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results, "columnKind": "utf16CodeUnits"}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.looks_at} {rule.why}"},
        "help": {"text": rule.remedy},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"security-severity": _SCORES[rule.severity], "tags": ["security"]},
    }


def _result(finding: Finding, places: dict[str, int], state: str | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.check,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.object}: {finding.evidence}. {finding.remedy}"},
        "locations": [{"logicalLocations": [{"fullyQualifiedName": finding.object, "kind": "resource"}]}],
        "partialFingerprints": {"checkAndObject/v1": finding.digest},
        "properties": {"security-severity": _SCORES[finding.severity]},
    }
    if finding.check in places:  # a finding of an earlier version may be gone, and its rule as well
        result["ruleIndex"] = places[finding.check]
    return result if state is None else {**result, "baselineState": state}
