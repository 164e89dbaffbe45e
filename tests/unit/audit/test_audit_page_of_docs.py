"""docs/audit.md tells of each check what its rule says."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from g3zkp_maint.audit.registry import RULES
from g3zkp_maint.cli.audit import audit_app

PAGE = Path(__file__).parents[3] / "docs" / "audit.md"
_ROW = re.compile(r"^\| `([a-z-]+)` \| (critical|high|medium|low) \| (.*) \| (.*) \|$", re.MULTILINE)


def test_the_table_of_checks_is_that_of_the_registry() -> None:
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8").partition("\n## The checks\n")[2].partition("\n## ")[0])
    assert rows == [(rule.id, str(rule.severity), rule.looks_at, rule.remedy) for rule in RULES]


def test_each_check_can_be_listed_and_explained() -> None:
    listed = CliRunner().invoke(audit_app, ["list"], catch_exceptions=False).output
    assert [line.split()[0] for line in listed.splitlines()[1:]] == [rule.id for rule in RULES]
    for rule in RULES:
        told = CliRunner().invoke(audit_app, ["explain", rule.id], catch_exceptions=False).output
        assert rule.why in told
