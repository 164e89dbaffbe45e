"""Checks that checkov has as well find the same as it does in the same manifests; each disagreement is argued in
docs/audit.md, and no other is there. What checkov says is recorded: `make audit-compare` asks it again."""

from __future__ import annotations

import json
import re
from pathlib import Path

from audit_cases import MANIFESTS, facts, manifests
from record_checkov import SAME, SAYS, is_of_one_file

from g3zkp_maint.audit.finding import Finding
from g3zkp_maint.audit.registry import SCAN

PAGE = Path(__file__).parents[3] / "docs" / "audit.md"
BY_ID = {check.id: check for check in SCAN}
SAID = json.loads(SAYS.read_text())

#: Check, file, object, who finds it.
Difference = tuple[str, str, str, str]
_ROW = re.compile(r"^\| `([a-z-]+)` \| `([a-z-]+)`: `([A-Za-z]+/[a-z-]+)` \| (we|checkov) \| (.+) \|$", re.MULTILINE)


def theirs(check: str) -> set[tuple[str, str]]:
    return {(file, thing) for one in SAME[check] for file, thing in SAID["failed"][one]}


def ours(check: str) -> set[tuple[str, str]]:
    files = [check] if is_of_one_file(check) else [one.stem for one in MANIFESTS.glob("*.yaml")]
    return {
        (file, thing)
        for file in files
        for one in BY_ID[check].findings(facts(objects=tuple(manifests(file))))
        for thing in things(one, file)
    }


def things(finding: Finding, file: str) -> set[str]:
    """What checkov would name: the workload, the role; where rights are judged by who has them, the binding."""
    if finding.check in ("rbac-keys-readers", "rbac-keys-reach"):
        return {f"{kind}/{name}" for kind, name in re.findall(r"by (\w+)/(?:g3zkp/)?([a-z-]+)\)", finding.evidence)}
    parts = finding.object.partition(":")[0].replace("/g3zkp/", "/").split("/")
    if finding.check == "rbac-escalation":
        (binding,) = [one for one in manifests(file) if [one["kind"], one["metadata"]["name"]] == parts]
        return {f"{binding['roleRef']['kind']}/{binding['roleRef']['name']}"}
    return {"/".join(parts[:2])}


def differences() -> set[Difference]:
    found: set[Difference] = set()
    for check in SAME:
        found |= {(check, *one, "we") for one in ours(check) - theirs(check)}
        found |= {(check, *one, "checkov") for one in theirs(check) - ours(check)}
    return found


def test_each_disagreement_with_checkov_is_argued_in_the_docs_and_no_other_is() -> None:
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert {(check, file, thing, who) for check, file, thing, who, _ in rows} == differences()


def test_both_find_much_and_mostly_the_same() -> None:
    agreed = {check: len(ours(check) & theirs(check)) for check in SAME}
    assert all(agreed[check] for check in SAME), agreed
    assert sum(agreed.values()) > 10 * len(differences())
