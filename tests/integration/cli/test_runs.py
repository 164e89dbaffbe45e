"""`runs` and `leases` over a real journal and real leases."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination import Leases, Mode, Runs, Started, connect
from g3zkp_maint.coordination.journal import Journal, JournalEvent
from g3zkp_maint.errors import SourceError

pytestmark = pytest.mark.integration

BACKUP = ("backup.run:2026-11-29T02:00Z", "backup.run", "2026-11-29T02:00Z")
CLEANUP = ("cleanup.run:2026-11-29T03:00Z", "cleanup.run", "2026-11-29T03:00Z")


@pytest.fixture
def client(redis_url: str) -> Iterator[object]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def journal(client) -> Journal:
    journal = Journal(client, clock=SystemClock(), cap=1000)
    journal.write(JournalEvent("started", *BACKUP, attempt=1))
    journal.write(JournalEvent("finished", *BACKUP, step="seal", bytes=2048, outcome="ok"))
    journal.write(JournalEvent("finished", *BACKUP, attempt=1, outcome="ok"))
    journal.write(JournalEvent("started", *CLEANUP, attempt=1))
    journal.write(JournalEvent("failed", *CLEANUP, outcome="exec-failed", detail={"error": "node ended with 1"}))
    return journal


@pytest.fixture
def invoke(redis_url: str):
    def run(*args: str) -> Result:
        return CliRunner(env={"G3ZKP_REDIS__URL": redis_url}).invoke(cli.app, [*args], prog_name="g3zkp-maint")

    return run


def test_runs_lists_the_newest_first_and_says_why_one_failed(journal: Journal, invoke) -> None:
    head, first, second = invoke("runs").stdout.splitlines()
    assert head.split()[:5] == ["RUN", "TASK", "SLOT", "STATE", "OUTCOME"]
    assert first.split()[1:3] == [CLEANUP[1], CLEANUP[2]]
    assert first.endswith("node ended with 1")
    assert second.split()[1:3] == [BACKUP[1], BACKUP[2]]
    assert "2.0 KiB" in second


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], [CLEANUP[0], BACKUP[0]]),
        (["--failed"], [CLEANUP[0]]),
        (["--task", "backup.run"], [BACKUP[0]]),
        (["--since", "2w", "--task", "crypto.restore"], []),
        (["--since", "2999-01-01"], []),
    ],
)
def test_runs_speaks_json_and_filters(journal: Journal, invoke, args: list[str], expected: list[str]) -> None:
    assert [run["run"] for run in json.loads(invoke("runs", "--json", *args).stdout)] == expected


def test_runs_says_so_when_there_are_none(client, invoke) -> None:
    assert invoke("runs", "--since", "2026-11-25").stdout == "no runs since 2026-11-25 00:00Z\n"


def test_show_draws_the_run_that_begins_so_as_a_tree(journal: Journal, invoke) -> None:
    name, head, start, step = invoke("runs", "show", "backup").stdout.splitlines()
    assert name == BACKUP[0]
    assert head.startswith("backup.run  2026-11-29T02:00Z  finished  ok")
    assert (start.split()[:3], step.split()[:2]) == (["└─", "start", "1"], ["└─", "seal"])
    assert "2.0 KiB" in step


def test_show_tells_an_error_below_its_line_and_all_of_it_as_json(journal: Journal, invoke) -> None:
    assert invoke("runs", "show", "cleanup").stdout.splitlines()[-1].strip() == "node ended with 1"
    told = json.loads(invoke("runs", "show", "cleanup", "--json").stdout)
    assert (told["state"], told["outcome"], len(told["records"])) == ("failed", "exec-failed", 2)
    (start,) = told["starts"]
    assert (start["how"], start["error"], start["steps"]) == ("failed", "node ended with 1", [])


def test_why_tells_of_a_run_by_task_and_slot(journal: Journal, invoke) -> None:
    told = invoke("why", "cleanup.run", CLEANUP[2]).stdout
    assert told.startswith("cleanup.run 2026-11-29T03:00Z (cleanup): ")
    assert "exec-failed: node ended with 1" in told
    assert json.loads(invoke("why", "backup.run", BACKUP[2], "--json").stdout)["verdict"] == "done"
    wrong = invoke("why", "backup.run", "yesterday")
    assert (wrong.exit_code, "the last one is" in wrong.stderr) == (2, True)


def test_show_refuses_a_name_that_several_runs_or_none_begin_with(journal: Journal, invoke) -> None:
    journal.write(JournalEvent("started", "backup.run:other", "backup.run", "other"))
    several, none = invoke("runs", "show", "backup"), invoke("runs", "show", "nonsense")
    assert (several.exit_code, none.exit_code) == (2, 2)
    assert "it may be backup.run:2026-11-29T02:00Z, backup.run:other" in several.stderr
    assert "no single run is named 'nonsense'" in none.stderr


def test_leases_lists_who_holds_what(client, invoke) -> None:
    assert invoke("leases").stdout == "nothing is held\n"
    taker = Leases(client, clock=SystemClock(), ttl_seconds=60, renew_seconds=20)
    with taker.acquire({"data": Mode.SHARED}, owner="worker-1"):
        (held,) = json.loads(invoke("leases", "--json").stdout)
        assert (held["resource"], held["mode"], held["owner"]) == ("data", "shared", "worker-1")
        assert invoke("leases").stdout.splitlines()[1].split()[:3] == ["data", "shared", "worker-1"]


def test_a_lease_is_broken_by_its_name_said_twice(client, invoke) -> None:
    taker = Leases(client, clock=SystemClock(), ttl_seconds=60, renew_seconds=20)
    with taker.acquire({"data": Mode.SHARED}, owner="worker-1"):
        once = invoke("leases", "break", "data")
        assert (once.exit_code, "--yes-i-mean data" in once.stderr) == (1, True)
        assert [one.resource for one in taker.holders()] == ["data"]
        assert invoke("leases", "break", "data", "--yes-i-mean", "data").stdout == "1 holder of data removed\n"
        assert json.loads(invoke("leases", "list", "--json").stdout) == []
    assert invoke("leases", "break", "data", "--yes-i-mean", "data").stdout == "nobody held data\n"


def test_a_run_that_failed_is_reset_and_is_the_reapers_at_its_next_look(client, invoke) -> None:
    taker = Leases(client, clock=SystemClock(), ttl_seconds=60, renew_seconds=20)
    runs = Runs(client, clock=SystemClock(), leases=taker, keep_days=14, max_attempts=3, handoff_seconds=300)
    begun = runs.begin(
        "backup.run", "a-slot", owner="worker-1", signature='{"task": "backup.run"}', deadline_seconds=60
    )
    assert isinstance(begun, Started)
    assert invoke("runs", "reset", "backup.run", "a-slot").exit_code == 2
    runs.fail(begun, SourceError("not mounted"))
    assert runs.dead() == []
    told = invoke("runs", "reset", "backup.run", "a-slot")
    assert told.stdout.startswith("backup.run a-slot is to be started again; a fleet takes it up within 30 s")
    assert json.loads(invoke("why", "backup.run", "a-slot", "--json").stdout)["verdict"] == "given-out-again"
    (dead,) = runs.dead()
    assert (dead.slot, dead.attempts, dead.signature) == ("a-slot", 0, '{"task": "backup.run"}')
    unknown = invoke("runs", "reset", "backup.run", "no-slot")
    assert (unknown.exit_code, "no run of backup.run" in unknown.stderr) == (2, True)


def test_without_redis_it_says_so_and_to_try_again() -> None:
    runner = CliRunner(env={"G3ZKP_REDIS__URL": "redis://127.0.0.1:1/0"})
    result = runner.invoke(cli.app, ["runs"], prog_name="g3zkp-maint")
    assert result.exit_code == 75
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: cannot read the journal: Redis at 127.0.0.1:1/0 is not reached")
