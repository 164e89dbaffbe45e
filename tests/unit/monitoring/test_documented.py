"""docs/monitoring.md: its metrics are those of the catalog, and what it shows of configuration is accepted."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from test_rules import ROOT, RULES, alerts

from g3zkp_maint.metrics.catalog import METRICS

PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def written_table() -> list[str]:
    (table,) = re.findall(r"<!-- metrics -->\n\n(.*?)\n\n<!-- /metrics -->", PAGE, re.DOTALL)
    return str(table).splitlines()


def test_the_table_has_each_metric_of_the_catalog_as_it_is() -> None:
    rows = [f"| `{one.name}` | {one.kind} | {', '.join(one.labels) or '-'} | {one.help} |" for one in METRICS]
    assert written_table() == ["| metric | kind | labels | what it tells |", "|---|---|---|---|", *rows]


def test_the_page_counts_the_alerts_that_there_are() -> None:
    assert f"{len(alerts())} of them" in PAGE


@pytest.mark.parametrize(
    ("name", "program", "command"),
    [("prometheus.yml", "promtool", ("check", "config")), ("alertmanager.yml", "amtool", ("check-config",))],
)
def test_what_it_shows_of_configuration_is_accepted(
    tmp_path: Path, require_program: Callable[[str], str], name: str, program: str, command: tuple[str, ...]
) -> None:
    (shown,) = re.findall(rf"```yaml\n# {re.escape(name)}\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / name).write_text(shown)
    shutil.copy(RULES, tmp_path)
    done = subprocess.run(
        [require_program(program), *command, name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
