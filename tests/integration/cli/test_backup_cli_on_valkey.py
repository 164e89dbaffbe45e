"""`backup run` and `backup restore` under real runs, leases and a journal; the restore onto a real embedded stack."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination import Mode, RunState
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.history import run_lines
from g3zkp_maint.testing.backup_place import COMPONENTS, BackupPlace, entered
from g3zkp_maint.testing.running_stack import running_stack, wait_for

pytestmark = pytest.mark.integration

Invoke = Callable[..., Result]
SURE = ("--force", "--reason", "a test")


@pytest.fixture
def place(tmp_path: Path, redis_url: str) -> BackupPlace:
    return BackupPlace.make(tmp_path)


@pytest.fixture
def services(place: BackupPlace, redis_url: str) -> Iterator[Services]:
    with entered({**place.environment(), "G3ZKP_REDIS__URL": redis_url}):
        yield Services()


@pytest.fixture
def invoke(services: Services) -> Invoke:
    """The fixture `services` has set the environment."""

    def run(*args: str) -> Result:
        return CliRunner().invoke(cli.app, ["backup", *args], prog_name="g3zkp-maint")

    return run


def run_json(invoke: Invoke, *args: str) -> dict[str, Any]:
    result = invoke("run", *args, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# -- run -----------------------------------------------------------------------------------------------------------------


def test_run_takes_a_full_then_an_incremental(place: BackupPlace, invoke: Invoke) -> None:
    full = run_json(invoke, "full")
    place.write("ipfs/new", b"x" * 100)
    incremental = run_json(invoke)
    assert (full["type"], full["outcome"], full["entries"], full["parent"]) == ("full", "ok", 7, None)
    assert (incremental["type"], incremental["parent"]) == ("incremental", full["name"])
    assert incremental["new_bytes"] == 100


def test_run_is_recorded_and_journaled(services: Services, invoke: Invoke) -> None:
    found = run_json(invoke, "full", "--slot", "before-upgrade")
    record = services.runs.get("backup.run", "before-upgrade")
    assert record is not None
    assert (record.state, record.result["name"]) == (RunState.DONE, found["name"])
    events = [(record.event.step, record.event.event) for record in services.journal.read()]
    steps = ["plan", "shards", "seal", "verify-quick"]
    assert [step for step, event in events if event == "finished" and step in steps] == steps
    (line,) = run_lines(services.journal.read(task="backup.run"))
    assert (line.state, line.outcome) == ("finished", "ok")
    assert services.leases.holders() == []


def test_the_same_slot_runs_once(place: BackupPlace, services: Services, invoke: Invoke) -> None:
    first, second = (run_json(invoke, "full", "--slot", "before-upgrade") for _ in range(2))
    assert first == second
    assert len(services.repository.names()) == 1


def test_a_run_in_progress_elsewhere_is_a_clear_error(services: Services, invoke: Invoke) -> None:
    started = services.runs.begin("backup.run", "busy", owner="worker-1", signature="{}", deadline_seconds=60)
    result = invoke("run", "--slot", "busy")
    services.runs.finish(started, {})  # type: ignore[arg-type]
    assert result.exit_code == 75
    assert "run backup.run busy is somebody's already" in result.stderr
    assert "worker-1" in result.stderr


def test_a_backup_waits_while_cleanup_has_the_data(place: BackupPlace, services: Services, invoke: Invoke) -> None:
    with services.leases.acquire({"data": Mode.EXCLUSIVE}, owner="cleanup.run:now"):
        result = invoke("run", "full", "--slot", "later")
    assert result.exit_code == 75
    assert "held by cleanup.run:now" in result.stderr
    assert not place.store.exists()
    assert run_json(invoke, "full", "--slot", "later")["outcome"] == "ok"


def test_a_failed_run_says_why_and_stays_failed(place: BackupPlace, services: Services, invoke: Invoke) -> None:
    (place.data / "keys").rename(place.root / "elsewhere")
    first, second = (invoke("run", "full", "--slot", "broken") for _ in range(2))
    assert (first.exit_code, second.exit_code) == (1, 1)
    assert "keys is not there" in first.stderr
    assert "[source]" in first.stderr
    assert "has failed" in second.stderr
    assert services.repository.names() == []


def test_ctrl_c_ends_the_run_and_gives_the_leases_back(place: BackupPlace, services: Services, redis_url: str) -> None:
    place.write("ipfs/large", os.urandom(64 << 20))
    process = _start("backup", "run", "full", "--slot", "stopped", "--processes", "1")
    wait_for(lambda: _step_began(services, "shards"), 20, lambda: "the backup never came to its shards")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    record = services.runs.get("backup.run", "stopped")
    assert process.returncode == 1, said
    assert "stopped by Ctrl-C" in said.decode()
    assert record is not None
    assert record.state is RunState.FAILED
    assert services.leases.holders() == []


def test_after_kill_9_the_same_slot_goes_on_with_its_plan(place: BackupPlace, services: Services) -> None:
    place.write("ipfs/large", os.urandom(64 << 20))
    process = _start("backup", "run", "full", "--slot", "killed", "--processes", "1")
    wait_for(lambda: _step_began(services, "shards"), 20, lambda: "the backup never came to its shards")
    process.kill()
    process.communicate(timeout=20)
    left = {holding.resource for holding in services.leases.holders()}
    assert "run:backup.run:killed" in left
    services.leases.break_("run:backup.run:killed")  # in place of waiting for a minute
    again = CliRunner().invoke(
        cli.app, ["backup", "run", "full", "--slot", "killed", "--json"], prog_name="g3zkp-maint"
    )
    assert again.exit_code == 0, again.stderr
    assert len(services.repository.names()) == 1
    record = services.runs.get("backup.run", "killed")
    assert record is not None
    assert record.attempts == 1


def _start(*args: str) -> subprocess.Popen[bytes]:
    code = "from g3zkp_maint.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )


def _step_began(services: Services, step: str) -> bool:
    return any(record.event.step == step for record in services.journal.read())


# -- restore -------------------------------------------------------------------------------------------------------------


def test_a_busy_restore_leaves_nothing_that_would_start_later(services: Services, invoke: Invoke) -> None:
    name = run_json(invoke, "full")["name"]
    with services.leases.acquire({"data": Mode.SHARED}, owner="backup.run:now"):
        result = invoke("restore", name, "--yes-i-mean", name, *SURE)
    assert result.exit_code == 75
    assert "held by backup.run:now" in result.stderr
    (record,) = services.runs.recent("crypto.restore")
    assert record.state is RunState.SUPERSEDED
    # Nor does it keep others from their leases.
    services.leases.acquire({"data": Mode.SHARED}, owner="backup.run:next").release()


def test_resume_of_an_unknown_run_is_wrong_usage(invoke: Invoke) -> None:
    name = run_json(invoke, "full")["name"]
    result = invoke("restore", name, "--resume", "manual-1")
    assert result.exit_code == 2
    assert "no restore 'manual-1' is on record" in result.stderr


def test_a_restore_that_fails_goes_on_by_resume_with_its_options(
    place: BackupPlace, services: Services, invoke: Invoke
) -> None:
    """Without a stack no attempt can begin; that may pass, and the exit code says so."""
    name = run_json(invoke, "full")["name"]
    before = place.tree()
    result = invoke("restore", name, "--component", "keys", "--no-safety", "--yes-i-mean", name, *SURE)
    assert result.exit_code == 75
    (record,) = services.runs.recent("crypto.restore")
    assert record.state is RunState.WAITING
    assert f"g3zkp-maint backup restore {name} --resume {record.slot}" in result.stderr
    again = invoke("restore", name, "--resume", record.slot)
    assert "stopped at step 'check'" in again.stderr
    checkpoint = RedisCheckpoint(services.redis, f"crypto.restore:{record.slot}", keep_days=1)
    assert "done" not in checkpoint.load()
    assert checkpoint.load()["options"]["components"] == ["keys"]
    other = invoke("restore", name, "--resume", record.slot, "--component", "ipfs")
    assert "it goes on with those" in other.stderr
    assert place.tree() == before


def test_restore_onto_the_messenger_and_what_it_recorded(tmp_path: Path, redis_url: str) -> None:
    state = tmp_path / "state"
    place = BackupPlace.make(tmp_path / "place")
    with running_stack(state, "--no-fleets", "--no-flower") as stack:
        data = stack.layout.messenger_data
        for path, content in place.tree().items():
            (data / path).parent.mkdir(parents=True, exist_ok=True)
            (data / path).write_bytes(content)
        settings = {
            **place.environment(),
            "G3ZKP_REDIS__URL": redis_url,
            "G3ZKP_PLATFORM__STATE_DIR": str(state),
            "G3ZKP_BACKUP__MOUNTED_ROOT": str(data),
            "G3ZKP_MESSENGER__DATA_PATH": str(data),
            "G3ZKP_BACKUP__COMPONENTS": json.dumps([*COMPONENTS, {"name": "k8s", "kind": "kubernetes"}]),
        }
        with entered(settings):
            _destroy_and_restore(data, Services())
        assert '"type": "backup"' in (data / "logs" / "backup.log").read_text()


def _destroy_and_restore(data: Path, services: Services) -> None:
    def run(*args: str) -> dict[str, Any]:
        result = CliRunner().invoke(cli.app, ["backup", *args, "--json"], prog_name="g3zkp-maint")
        assert result.exit_code == 0, result.stderr
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    name = run("run", "full")["name"]
    (data / "keys" / "identity").write_bytes(b"spoilt")
    (data / "ipfs" / "surplus").write_bytes(b"")
    token = run("restore", name, "--dry-run")["token"]
    restored = run("restore", name, "--confirm", token, *SURE)
    assert (restored["written"], restored["removed"], restored["target"]) == (1, 1, "messenger")
    assert (data / "keys" / "identity").read_bytes() == b"not a real key"
    assert not (data / "ipfs" / "surplus").exists()
    assert services.repository.manifest(restored["safety"]).run == f"safety:{restored['run']}"
    noted = [asdict(record.event)["detail"] for record in services.journal.read(task="crypto.restore")]
    assert "a test" in [detail.get("reason") for detail in noted]
    assert run("restore", name, "--resume", restored["run"]) == restored
    _extract(data.parent / "objects.yaml", name)


def _extract(target: Path, name: str) -> None:
    """Into a new file of mode 0600 or a pipe, and nowhere else."""
    extract = ("backup", "extract", name, "k8s")
    wrote = CliRunner().invoke(cli.app, [*extract, "-o", str(target)], prog_name="g3zkp-maint")
    assert wrote.exit_code == 0, wrote.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    objects = list(yaml.safe_load_all(target.read_bytes()))
    assert "Secret" in {one["kind"] for one in objects}
    piped, _ = _start(*extract).communicate(timeout=20)
    assert piped == target.read_bytes()
    again = CliRunner().invoke(cli.app, [*extract, "-o", str(target)], prog_name="g3zkp-maint")
    assert "is there already" in again.stderr
    loose = target.with_name("loose")
    with loose.open("wb") as file:
        code = "from g3zkp_maint.cli import main; main()"
        refused = subprocess.run(
            [sys.executable, "-c", code, *extract], stdout=file, stderr=subprocess.PIPE, check=False
        )
    assert (refused.returncode, loose.read_bytes()) == (2, b"")
    assert b"this holds secrets" in refused.stderr
