"""Cleanup as the fleets run it, on a real messenger whose modules can be made to hang, die, refuse and talk nonsense."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running_fleet import Fleet, stack_fleet, wait_until

import messenger
from g3zkp_maint.cleanup.plan import CleanupRequest
from g3zkp_maint.coordination import Mode
from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.errors import CleanupFailed, CleanupRefused, MaintenanceError
from g3zkp_maint.messenger_call import call
from g3zkp_maint.operations import cleanup as operations
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.platforms.local_workload import read_declared, write_declared
from g3zkp_maint.testing.running_stack import running_stack

pytestmark = pytest.mark.integration

TASK = "cleanup.run"
DAY_MS = 86_400_000
SETTINGS = {
    "G3ZKP_COORDINATION__LEASE_TTL_SECONDS": "6",
    "G3ZKP_COORDINATION__LEASE_RENEW_SECONDS": "1",
    "G3ZKP_COORDINATION__MAX_ATTEMPTS": "2",
    "G3ZKP_CLEANUP__STEP_SECONDS": "2",
}

#: Stands before a module of the messenger: notes each call, and lets `behaviour.js`, where there is one, go first.
_BEFORE = """
const fs = require('node:fs');
const real = require(%(real)s);
const spied = (name) => async (...args) => {
  fs.appendFileSync(%(calls)s, JSON.stringify({ name, args, pid: process.pid }) + '\\n');
  const behaviour = fs.existsSync(%(behaviour)s) ? fs.readFileSync(%(behaviour)s, 'utf8') : '';
  const instead = behaviour && await new Function('name', 'require', 'return (async () => {' + behaviour + '})()')(name, require);
  return instead === undefined || instead === '' ? real[name](...args) : instead;
};
module.exports = { ...real };
for (const name of %(names)s) module.exports[name] = spied(name);
"""
_SPIED = {
    "storage": ["deleteMessagesBefore", "deleteProofsBefore", "compact"],
    "crypto": ["cleanupStaleSessions"],
}


class Messenger:
    """The modules of a real one, with ours before them."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet = fleet
        self.folder = folder
        self.calls_file = folder / "calls.jsonl"
        self.behaviour = folder / "behaviour.js"
        modules = messenger.path() / "modules"
        for name, spied in _SPIED.items():
            (folder / "@g3zkp" / name).mkdir(parents=True)
            source = _BEFORE % {
                "real": json.dumps(str(modules / "@g3zkp" / name)),
                "calls": json.dumps(str(self.calls_file)),
                "behaviour": json.dumps(str(self.behaviour)),
                "names": json.dumps(spied),
            }
            (folder / "@g3zkp" / name / "index.js").write_text(source)
        workloads = Path(fleet.settings["G3ZKP_PLATFORM__STATE_DIR"]) / "workloads"
        declared = read_declared(workloads, MESSENGER)
        env = {**declared.env, "NODE_PATH": str(folder)}
        write_declared(workloads, declared.model_copy(update={"env": env}))

    def behave(self, script: str) -> None:
        self.behaviour.write_text(script)

    def calls(self, name: str | None = None) -> list[dict[str, Any]]:
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [one for one in map(json.loads, lines) if name in (None, one["name"])]

    def reset(self) -> None:
        self.behaviour.unlink(missing_ok=True)
        self.calls_file.unlink(missing_ok=True)

    def fill(self, *, old: int, young: int) -> None:
        """So many messages, proofs and sessions of each age."""
        script = f"""
        const data = require({json.dumps(str(messenger.path() / "modules/@g3zkp/data"))});
        const {{ touchSession }} = require({json.dumps(str(messenger.path() / "modules/@g3zkp/crypto/sessions"))});
        const [old, young, day] = args;
        const now = Date.now();
        for (const kind of ['messages', 'proofs']) {{
          const records = [...Array(old + young).keys()].map((n) => ({{
            createdAt: now - (n < old ? 31 : 1) * day, from: 'a', to: 'b', body: 'x'.repeat(500) }}));
          await data.appendRecords(kind, records);
        }}
        for (let n = 0; n < old + young; n += 1)
          await touchSession('peer' + n, {{ now: now - (n < old ? 2 : 0) * day }});
        """
        call(self.fleet.services.platform, script, args=[old, young, DAY_MS], timeout_seconds=30)

    def left(self) -> tuple[int, int, int]:
        script = f"""
        const {{ allRecords }} = require({json.dumps(str(messenger.path() / "modules/@g3zkp/data"))});
        const sessions = await require('@g3zkp/crypto').countStaleSessions(Date.now() + 1000);
        return [allRecords('messages').length, allRecords('proofs').length, sessions];
        """
        found = call(self.fleet.services.platform, script, timeout_seconds=30)
        return (found[0], found[1], found[2])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Messenger]:
    folder = tmp_path_factory.mktemp("cleanup")
    with running_stack(folder / "state", "--no-fleets", "--no-flower") as stack:
        fleet = stack_fleet(folder, stack)
        fleet.settings.update(SETTINGS)
        fleet.services = fleet._services()
        fleet.settings["G3ZKP_BACKUP__COMPONENTS"] = json.dumps(
            [{"name": one, "kind": "files", "path": one} for one in ("ipfs", "messages", "proofs", "sessions")]
        )
        found = Messenger(fleet, folder / "modules")
        fleet.worker("backup,cleanup,observe", concurrency=3)
        yield found
        fleet.close()
    shutil.rmtree(folder / "state")


@pytest.fixture
def site(world: Messenger) -> Messenger:
    """With a fresh backup, and a messenger that does as it should."""
    world.reset()
    if not world.fleet.manifests():
        world.fleet.send("backup.run", "full").get(timeout=60)
    return world


def _cutoffs(site: Messenger, slot: str) -> dict[str, int]:
    """As the journal tells them of the plan."""
    planned = site.fleet.events(task=TASK, slot=slot, step="plan", event="finished")[-1]
    return {kind: int(str(planned.detail[f"{kind}_before_ms"])) for kind in ("messages", "proofs", "sessions")}


def test_without_a_backup_nothing_is_deleted(world: Messenger) -> None:
    world.reset()
    shutil.rmtree(world.fleet.store, ignore_errors=True)
    world.fleet.store.mkdir()
    with pytest.raises(MaintenanceError, match="there is no valid and complete backup") as refused:
        world.fleet.send(TASK, slot="unsaved").get(timeout=30)
    assert isinstance(refused.value, CleanupRefused)
    assert world.calls() == []
    assert world.fleet.is_state(RunState.FAILED, TASK, "unsaved")


def test_what_expired_goes_once_though_the_slot_is_delivered_twice(site: Messenger) -> None:
    before = site.left()
    site.fill(old=30, young=3)
    began = time.time() * 1000
    results = [site.fleet.send(TASK, slot="2026-03-02T03:00Z") for _ in range(2)]
    first, second = (one.get(timeout=60) for one in results)
    assert first == second
    assert (first["outcome"], first["messages"], first["proofs"], first["sessions"]) == ("ok", 30, 30, 30)
    assert first["freed_bytes"] > 30 * 500
    assert site.left() == tuple(count + 3 for count in before)
    assert [one["name"] for one in site.calls()] == [
        "deleteMessagesBefore",
        "deleteProofsBefore",
        "cleanupStaleSessions",
        "compact",
    ]
    # One moment for all, in milliseconds.
    messages, proofs, sessions = (one["args"][0] for one in site.calls()[:3])
    assert messages + 30 * DAY_MS == proofs + 7 * DAY_MS == sessions + DAY_MS
    assert began <= messages + 30 * DAY_MS <= time.time() * 1000
    assert first["cutoffs_ms"] == {"messages": messages, "proofs": proofs, "sessions": sessions}
    told = {one.step: one for one in site.fleet.events(task=TASK, slot="2026-03-02T03:00Z", event="finished")}
    assert told["messages"].detail["count"] == 30
    assert told["compact"].bytes == first["freed_bytes"]


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("for (;;);", "did not answer within 2 s"),
        ("process.kill(process.pid, 'SIGKILL')", "killed"),
        ("process.exit(0)", "no answers"),
        ("throw new Error('the volume is read-only')", "the volume is read-only"),
    ],
    ids=["hangs", "dies", "leaves", "refuses"],
)
def test_a_step_that_fails_is_tried_again_then_told_and_the_rest_goes_on_where_it_may(
    site: Messenger, behaviour: str, told: str, request: pytest.FixtureRequest
) -> None:
    slot = f"fails-{request.node.callspec.id}"
    site.behave(f"if (name === 'deleteMessagesBefore') {{ console.log('noise'); {behaviour}; }}")
    result = site.fleet.send(TASK, slot=slot).get(timeout=60)
    assert result["outcome"] == "partial"
    assert told in result["problems"][0]
    assert "messages was failed" in result["problems"][1]
    assert [one["name"] for one in site.calls()] == [
        *["deleteMessagesBefore"] * 2,
        "cleanupStaleSessions",
        "compact",
    ]
    assert len({one["args"][0] for one in site.calls("deleteMessagesBefore")}) == 1
    assert len(site.fleet.events(task=TASK, slot=slot, step="messages", event="failed")) == 2


def test_an_answer_that_is_no_count_is_an_error_and_not_a_count(site: Messenger) -> None:
    site.behave(
        "return { deleteMessagesBefore: null, deleteProofsBefore: 'some', cleanupStaleSessions: 2.5, compact: { freedBytes: -1 } }"
        "[name] ?? 7"
    )
    result = site.fleet.send(TASK, slot="nonsense").get(timeout=60)
    assert (result["messages"], result["outcome"]) == (7, "partial")
    shown = ["'some' for proofs", "'2.5' for sessions", "'-1' for compact"]
    assert [told in problem for told, problem in zip(shown, result["problems"], strict=True)] == [True] * 3


def test_a_step_that_failed_once_is_done_at_its_next_try(site: Messenger) -> None:
    site.fill(old=5, young=0)
    once = site.folder / "once"
    site.behave(
        f"if (name === 'deleteProofsBefore' && !require('fs').existsSync('{once}')) "
        f"{{ require('fs').writeFileSync('{once}', ''); process.exit(9); }}"
    )
    result = site.fleet.send(TASK, slot="second-try").get(timeout=60)
    assert (result["outcome"], result["messages"], result["proofs"]) == ("ok", 5, 5)
    assert [len(site.calls(name)) for name in ("deleteMessagesBefore", "deleteProofsBefore")] == [1, 2]


def test_a_run_that_deleted_nothing_for_errors_has_failed(site: Messenger) -> None:
    site.behave("throw new Error('away')")
    with pytest.raises(MaintenanceError, match=r"messages: .*away.*sessions: .*away") as failed:
        site.fleet.send(TASK, slot="all-fail").get(timeout=60)
    assert isinstance(failed.value, CleanupFailed)
    assert site.fleet.is_state(RunState.FAILED, TASK, "all-fail")


def test_it_waits_for_a_backup_under_way_and_then_runs(site: Messenger) -> None:
    fleet = site.fleet
    fleet.fill(60)
    backup = fleet.send("backup.run", "full", slot="beside")
    wait_until(lambda: fleet.events(task="backup.run", slot="beside", event="started"), "the backup is under way")
    result = fleet.send(TASK, slot="after-backup").get(timeout=60)
    assert result["outcome"] == "ok"
    told = [(one.task, one.slot, one.step, one.event) for one in fleet.events()]
    began = told.index((TASK, "after-backup", "messages", "started"))
    assert told.index(("backup.run", "beside", "", "finished")) < began
    assert told.index((TASK, "after-backup", "", "waiting")) < began
    assert backup.get(timeout=10)["name"] == result["backup"]


def test_no_backup_begins_while_a_cleanup_is_at_work(site: Messenger) -> None:
    site.behave("if (name === 'compact') await new Promise((done) => setTimeout(done, 1500))")
    running = site.fleet.send(TASK, slot="at-work")
    wait_until(lambda: site.calls("compact"), "the cleanup compacts")
    with pytest.raises(MaintenanceError, match="data"):
        site.fleet.services.leases.acquire({"data": Mode.SHARED}, owner="test", queue=False)
    assert running.get(timeout=30)["outcome"] == "ok"
    site.fleet.services.leases.acquire({"data": Mode.SHARED}, owner="test", queue=False).release()


def test_a_worker_killed_in_a_step_is_succeeded_with_the_same_cutoffs_and_its_call_ends(site: Messenger) -> None:
    fleet = site.fleet
    site.fill(old=4, young=0)
    # From before the worker is killed to after: the first call never ends by itself.
    site.behave("if (name === 'deleteProofsBefore') await new Promise(() => setInterval(() => {}, 1000))")
    fleet.workers[-1].kill()
    alone = fleet.worker("cleanup", concurrency=1, G3ZKP_CLEANUP__STEP_SECONDS="60")
    result = fleet.send(TASK, slot="killed")
    wait_until(lambda: site.calls("deleteProofsBefore"), "the step is under way")
    (hanging,) = site.calls("deleteProofsBefore")
    alone.kill()
    wait_until(lambda: not _runs(hanging["pid"]), "the call ends with its caller")
    site.behaviour.unlink()
    fleet.worker("backup,cleanup,observe", concurrency=3)
    done = fleet.reaped(result, seconds=60)
    assert (done["outcome"], done["messages"], done["proofs"]) == ("ok", 4, 4)
    assert len(site.calls("deleteMessagesBefore")) == 1
    assert {one["args"][0] for one in site.calls("deleteProofsBefore")} == {_cutoffs(site, "killed")["proofs"]}


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


# -- by hand ---------------------------------------------------------------------------------------------------------------


def _cli(site: Messenger, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "cleanup", *args],
        env=site.fleet.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_dry_run_counts_and_deletes_nothing(site: Messenger) -> None:
    site.fill(old=2, young=1)
    before = site.left()
    found = site.fleet.send(TASK, dry_run=True).get(timeout=30)
    assert found["would_delete"] == {"messages": 2, "proofs": 2, "sessions": 2}
    assert (site.left(), site.calls()) == (before, [])
    shown = _cli(site, "plan")
    assert shown.returncode == 0, shown.stderr
    assert "messages" in shown.stdout
    assert f"newest valid backup: {found['backup']}" in shown.stdout


def test_a_dry_run_says_so_where_the_messenger_cannot_count(site: Messenger) -> None:
    index = site.folder / "@g3zkp/storage/index.js"
    whole = index.read_text()
    index.write_text(whole + "\ndelete module.exports.countProofsBefore;\n")
    try:
        found = operations.preview(site.fleet.services, CleanupRequest())
    finally:
        index.write_text(whole)
    assert found["would_delete"]["proofs"] is None
    assert found["not_counted"] == {"proofs": "this messenger offers no countProofsBefore"}


def test_by_hand_below_a_floor_only_with_force_and_a_reason_that_the_journal_keeps(site: Messenger) -> None:
    site.fleet.send("backup.run").get(timeout=60)
    refused = _cli(site, "run", "--sessions-hours", "0.5")
    assert (refused.returncode, site.calls()) == (1, [])
    assert "floor of 1 h" in refused.stderr
    assert _cli(site, "run", "--force").returncode == 2
    done = _cli(site, "run", "--sessions-hours", "0.5", "--force", "--reason", "lost phone", "--json", "--slot", "hand")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["forced"] == "lost phone"
    (planned,) = site.fleet.events(task=TASK, slot="hand", step="plan", event="finished")
    assert planned.detail["forced"] == "lost phone"
