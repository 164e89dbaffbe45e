"""The weekly report and `why`, over what real runs of a real stack have left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta

import pytest
from running_fleet import Fleet, stack_fleet, wait_until
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.calendar.slot import format_slot
from g3zkp_maint.coordination.lease import DATA, Mode
from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.reports import shelf
from g3zkp_maint.reports.week import Week
from g3zkp_maint.testing.running_stack import running_stack
from g3zkp_maint.testing.webhook import Webhook, running_webhook

pytestmark = pytest.mark.integration

TASK = "observe.weekly_report"
SUNDAY, MONDAY = "2026-11-22T02:00Z", "2026-11-23T02:00Z"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with running_webhook() as found:
        yield found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("weekly")
    with running_stack(folder / "state", "--no-fleets", "--no-flower") as stack:
        fleet = stack_fleet(folder, stack)
        fleet.settings["G3ZKP_NOTICES__URLS"] = json.dumps([webhook.url("token").get_secret_value()])
        fleet.worker("backup,crypto,cleanup,observe", concurrency=2)
        fleet.send("backup.run", "full", slot=SUNDAY).get(timeout=60)
        yield fleet
        fleet.close()
    shutil.rmtree(folder / "state")


def call(fleet: Fleet, *args: str) -> Result:
    return CliRunner(env=fleet.settings).invoke(cli.app, [*args], prog_name="g3zkp-maint")


def why(fleet: Fleet, task: str, slot: str) -> dict[str, object]:
    told: dict[str, object] = json.loads(call(fleet, "why", task, slot, "--json").stdout)
    return told


def this_week_as_last(fleet: Fleet) -> tuple[Week, str]:
    """The present week, and the slot whose report is of it."""
    week = Week.of(fleet.services.clock.now())
    return week, format_slot(week.end + timedelta(hours=6))


def test_a_report_is_made_of_real_runs_kept_and_told_once(fleet: Fleet, webhook: Webhook) -> None:
    week, slot = this_week_as_last(fleet)
    first = fleet.send(TASK, slot=slot).get(timeout=60)
    again = fleet.send(TASK, slot=slot).get(timeout=60)
    assert first == again
    assert (first["week"], first["report"]) == (str(week), f"reports/{week.year}/g3zkp_report_{week}.html")
    repository = fleet.services.primary_repository
    facts = shelf.read_facts(repository, week)
    assert facts is not None
    assert (facts.unknown, facts.runs["ok"] >= 1) == ((), True)
    assert facts.storage is not None
    assert (facts.storage.backups, facts.storage.newest_at is not None) == (1, True)
    assert {one.type for one in facts.keys or ()} == {"identity", "signing", "encryption", "session"}
    assert b"backup.run" in shelf.read_page(repository, week)
    (posted,) = [title for title in webhook.titles() if title.startswith("Maintenance in week")]
    assert posted.startswith(f"Maintenance in week {week}")


def test_a_report_is_listed_shown_and_not_made_anew(fleet: Fleet, tmp_path) -> None:
    week, slot = this_week_as_last(fleet)
    fleet.send(TASK, slot=slot).get(timeout=60)
    (listed,) = json.loads(call(fleet, "report", "list", "--json").stdout)
    assert listed["week"] == str(week)
    file = tmp_path / "week.html"
    told = call(fleet, "report", "show", "--output", str(file)).stdout
    assert told.startswith(f"Maintenance in week {week}: ")
    assert file.read_bytes() == shelf.read_page(fleet.services.primary_repository, week)
    assert json.loads(call(fleet, "report", "show", "--week", str(week), "--json").stdout)["week"] == str(week)
    early = call(fleet, "report", "make", "--week", str(week))
    assert (early.exit_code, "by --output" in early.stderr) == (2, True)
    now = tmp_path / "now.html"
    assert call(fleet, "report", "make", "--output", str(now)).exit_code == 0
    assert now.read_text().startswith("<!doctype html>")
    before = call(fleet, "report", "make")
    assert f"kept as reports/{week.back(1).year}/g3zkp_report_{week.back(1)}.html" in before.stdout
    assert "was there already" in call(fleet, "report", "make").stdout
    assert [one["week"] for one in json.loads(call(fleet, "report", "list", "--json").stdout)] == [
        str(week),
        str(week.back(1)),
    ]
    missing = call(fleet, "report", "show", "--week", "2020-W01")
    assert (missing.exit_code, "no report of 2020-W01" in missing.stderr) == (2, True)


def test_retention_and_the_sweep_of_leftovers_leave_reports_alone(fleet: Fleet) -> None:
    week, slot = this_week_as_last(fleet)
    fleet.send(TASK, slot=slot).get(timeout=60)
    fleet.send("backup.prune", force=True, slot="sweep").get(timeout=60)
    assert shelf.read_facts(fleet.services.primary_repository, week) is not None
    assert shelf.read_page(fleet.services.primary_repository, week)


def test_why_tells_what_ran_what_gave_way_and_what_is_not_due(fleet: Fleet) -> None:
    done = why(fleet, "backup.run", SUNDAY)
    assert (done["verdict"], done["entry"], done["attempts"]) == ("done", "backup-full", 1)
    fleet.send("backup.run", "incremental", slot=SUNDAY).get(timeout=60)
    gave_way = why(fleet, "backup-incremental", SUNDAY)
    assert gave_way["verdict"] == "superseded"
    assert "backup-full" in str(gave_way["why"])
    assert "that one: done" in str(gave_way["why"])
    not_due = why(fleet, "backup.run", "2026-11-22T05:00")
    assert (not_due["verdict"], not_due["last_due"], not_due["next_due"]) == ("not-due", SUNDAY, MONDAY)


def test_why_tells_with_which_code_a_run_failed(fleet: Fleet) -> None:
    failed = fleet.send("backup.verify", "g3zkp_full_20200101_020000", slot="verify-nothing")
    wait_until(failed.failed, "the verification fails")
    told = why(fleet, "backup.verify", "verify-nothing")
    assert (told["verdict"], "unknown-backup" in str(told["why"])) == ("failed", True)
    assert "runs reset backup.verify verify-nothing" in str(told["todo"])


def test_why_tells_which_lease_a_run_waits_for_and_who_has_it(fleet: Fleet) -> None:
    slot = "2026-11-22T03:00Z"
    with fleet.services.leases.acquire({DATA: Mode.SHARED}, owner="crypto.restore:somebody"):
        waits = fleet.send("cleanup.run", dry_run=False, slot=slot)
        wait_until(lambda: fleet.is_state(RunState.WAITING, "cleanup.run", slot), "the cleanup waits")
        wait_until(lambda: fleet.events(task="cleanup.run", slot=slot, event="waiting"), "the journal tells")
        told = why(fleet, "cleanup.run", slot)
    assert (told["verdict"], told["entry"]) == ("waiting-for-lease", "cleanup")
    assert "the lease on data, held by crypto.restore:somebody" in str(told["why"])
    waits.get(timeout=60)
    done = why(fleet, "cleanup.run", slot)
    assert (done["verdict"], "waited for a lease before" in str(done["why"])) == ("done", True)
    tree = call(fleet, "runs", "show", str(done["run"])).stdout
    assert "waits" in tree
    assert tree.index("waits") < tree.index("messages")
