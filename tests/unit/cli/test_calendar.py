from __future__ import annotations

import json
from pathlib import Path

import pytest
from icalendar import Calendar as ICalendar
from typer.testing import CliRunner

from g3zkp_maint.cli.calendar import calendar_app
from g3zkp_maint.errors import BadInput


def output(*args: str) -> str:
    result = CliRunner().invoke(calendar_app, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_show_says_what_takes_the_incremental_backup_of_a_sunday() -> None:
    lines = [
        line for line in output("show", "--from", "2026-11-01", "--days", "1").splitlines() if "health" not in line
    ]
    assert lines[0] == (
        "2026-11-01T02:00Z  Sun  backup-incremental   backup.run incremental  superseded by backup-full"
    )
    assert lines[1] == "2026-11-01T02:00Z  Sun  backup-full          backup.run full"
    assert len(lines) == 9


def test_show_lists_every_firing_as_json() -> None:
    records = [
        json.loads(line) for line in output("show", "--from", "2026-11-01", "--days", "400", "--json").splitlines()
    ]
    health = [one for one in records if one["entry"] == "health"]
    assert len(health) == 400 * 288
    lost = [one for one in records if one["superseded_by"] is not None]
    assert {one["entry"] for one in lost} == {"backup-incremental"}
    assert {one["superseded_by"] for one in lost} == {"backup-full"}
    assert len(lost) == 58


def test_upkeep_is_shown_only_when_asked_for() -> None:
    assert "observe.reap" not in output("show", "--days", "1")
    assert "observe.reap" in output("show", "--days", "1", "--upkeep")


def test_ics_writes_a_file_that_a_calendar_program_reads(tmp_path: Path) -> None:
    path = tmp_path / "maintenance.ics"
    output("ics", "-o", str(path))
    assert len(ICalendar.from_ical(path.read_bytes()).walk("VEVENT")) == 9
    output("ics", "-o", str(path), "--days", "7", "--from", "2026-11-01")
    assert len(ICalendar.from_ical(path.read_bytes()).walk("VEVENT")) == 7 * 3 + 2 + 3
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def test_a_date_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="2026-02-30"):
        CliRunner().invoke(calendar_app, ["show", "--from", "2026-02-30"], catch_exceptions=False)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no/such"):
        CliRunner().invoke(calendar_app, ["ics", "-o", str(tmp_path / "no/such/file.ics")], catch_exceptions=False)
