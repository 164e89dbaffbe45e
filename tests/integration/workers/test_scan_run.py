"""The security scan by the observe fleet, around a real messenger: what is planted is found, told once, and gone when mended."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from running_fleet import Fleet, stack_fleet
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.audit import sources, thorough
from g3zkp_maint.audit.finding import Finding
from g3zkp_maint.backup.verify import VerifyMode
from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.operations import audit as operations
from g3zkp_maint.testing.running_stack import running_stack
from g3zkp_maint.testing.webhook import Webhook, running_webhook

pytestmark = pytest.mark.integration

TASK = "observe.security_scan"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with running_webhook() as found:
        yield found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("scan")
    with running_stack(folder / "state", "--no-fleets", "--no-flower") as stack:
        fleet = stack_fleet(folder, stack)
        fleet.settings["G3ZKP_NOTICES__URLS"] = json.dumps([webhook.url("token").get_secret_value()])
        fleet.settings["G3ZKP_AUDIT__LOG"] = str(folder / "audit.log")
        fleet.settings["G3ZKP_AUDIT__WAIVERS"] = str(folder / "waivers.toml")
        # Of Secrets the observe fleet knows nothing: the age of keys comes from the journal.
        fleet.settings["G3ZKP_AUDIT__LOOK_INTO_SECRET"] = "false"
        expected = "system:serviceaccount:g3zkp-maint:worker-cleanup"
        (folder / "audit.log").write_text(logged(expected, ago=timedelta(days=2)) + logged(expected))
        (folder / "waivers.toml").touch()
        fleet.worker("observe,backup", concurrency=2)
        yield fleet
        fleet.close()
    shutil.rmtree(folder / "state")


def logged(user: str, *, ago: timedelta = timedelta()) -> str:
    """A line of the API server's audit log: a command in a pod."""
    event = {
        "auditID": user,
        "stage": "ResponseComplete",
        "verb": "create",
        "user": {"username": user},
        "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "g3zkp", "name": "g3zkp-messenger-1"},
        "stageTimestamp": (datetime.now(UTC) - ago).isoformat(),
    }
    return json.dumps(event) + "\n"


def scan(fleet: Fleet, slot: str) -> dict[str, Any]:
    found: dict[str, Any] = fleet.send(TASK, slot=slot).get(timeout=60)
    return found


def kept(fleet: Fleet) -> dict[tuple[str, str], Finding]:
    """What the fleet's last scan found."""
    memory = operations.recall(fleet.services)
    assert memory is not None
    return {one.key: one for one in memory.findings}


def by_hand(fleet: Fleet, *options: str, **settings: str) -> Result:
    """`g3zkp-maint audit run`, which sees the settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**fleet.settings, **settings}.items():
            patch.setenv(name, value)
        return CliRunner().invoke(cli.app, ["audit", "run", *options])


@contextmanager
def planted(fleet: Fleet) -> Iterator[dict[tuple[str, str], str]]:
    """Faults of the kinds that a stack without a cluster can hold, and how bad each is; mended afterwards."""
    keys, log = fleet.data / "keys", fleet.folder / "audit.log"
    open_key, link = next(keys.glob("identity-*.json")), keys / "elsewhere.json"
    was = log.read_text()
    open_key.chmod(0o644)
    keys.chmod(0o770)
    link.symlink_to("/etc/passwd")
    (keys / "strange").touch(0o600)
    if os.geteuid() == 0:
        os.chown(keys / "strange", 12345, 12345)
    log.write_text(was + logged("mallory"))
    expected = {
        ("keys-file-mode", str(open_key)): "critical",
        ("keys-folder-mode", str(keys)): "high",
        ("keys-file-kind", str(link)): "medium",
        ("log-command", "Access/g3zkp/pods/exec/create:mallory"): "high",
    }
    if os.geteuid() == 0 and fleet.data.stat().st_uid != 12345:
        expected["keys-file-owner", str(keys / "strange")] = "high"
    try:
        yield expected
    finally:
        open_key.chmod(0o600)
        keys.chmod(0o700)
        link.unlink(missing_ok=True)
        (keys / "strange").unlink(missing_ok=True)
        log.write_text(was)


def test_planted_faults_are_found_told_once_and_gone_when_they_are_mended(fleet: Fleet, webhook: Webhook) -> None:
    first = scan(fleet, "first")
    assert (first["passed"], first["critical"], first["new"]) == (False, 1, None)  # there is no backup yet
    fleet.send("backup.run", "full", slot="a-backup").get(timeout=60)
    webhook.posted.clear()
    assert scan(fleet, "backed-up")["passed"] is True
    before = kept(fleet)
    assert {check for check, _ in before} == {"backup-undrilled", "key-unknown"}
    assert webhook.titles() == ["Security scan: 1 high new"]  # the drill

    with planted(fleet) as expected:
        webhook.posted.clear()
        found = scan(fleet, "planted")
        assert {key: str(one.severity) for key, one in kept(fleet).items() if key not in before} == expected
        assert (found["passed"], found["critical"], found["new"]) == (False, 1, len(expected))
        assert scan(fleet, "planted") == found, "one slot, one scan"
        assert scan(fleet, "again")["new"] == 0
        high = sum(one == "high" for one in expected.values())
        assert webhook.titles() == [f"Security scan: 1 critical and {high} high new"]

    mended = scan(fleet, "mended")
    assert (mended["passed"], mended["gone"]) == (True, len(expected))
    assert kept(fleet).keys() == before.keys()
    (told,) = fleet.events(task=TASK, slot="planted", step="scan", event="finished")
    assert (told.outcome, told.detail["critical"], told.detail["new"]) == ("failed", 1, len(expected))
    assert fleet.is_state(RunState.DONE, TASK, "planted")


def test_a_notice_that_did_not_go_out_goes_with_the_next_scan(fleet: Fleet, webhook: Webhook) -> None:
    with planted(fleet):
        webhook.status = 500
        scan(fleet, "untold")
        assert fleet.is_state(RunState.DONE, TASK, "untold")
        webhook.status = 200
        webhook.posted.clear()
        scan(fleet, "told")
        assert len(webhook.titles()) == 1
    scan(fleet, "after-notices")


def test_an_archive_that_is_not_encrypted_is_found(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(manifest: Path) -> str:
        archive = next(path for path in sorted(manifest.parent.iterdir()) if path.name.endswith(".tar.zst.age"))
        archive.chmod(0o644)
        archive.write_bytes(b"plain" + archive.read_bytes()[5:])
        return str(archive.relative_to(fleet.store))

    for slot in ("another-backup", "a-newer-backup"):
        fleet.send("backup.run", "full", slot=slot).get(timeout=60)
    former, manifest = fleet.manifests()[-2:]
    earlier, newest = opened(former), opened(manifest)
    report = operations.examine(fleet.services, None)
    assert [one.object for one in report.findings if one.check == "backup-unencrypted"] == [f"Archive/{newest}"]
    repository = fleet.services.primary_repository
    assert set(sources.backups(repository, every=True).value.open_archives) == {earlier, newest}
    monkeypatch.setattr(sources, "_MOST_ARCHIVES", 1)
    ((what, _, _),) = sources.backups(repository).lacks
    assert what.endswith("archives of the newest backup")
    assert sources.backups(repository, every=True).lacks == ()
    shutil.rmtree(manifest.parent)
    shutil.rmtree(former.parent)


def test_by_hand_it_compares_and_keeps_nothing_and_ends_with_3_where_a_critical_finding_counts(fleet: Fleet) -> None:
    scan(fleet, "compared-with")
    memory = operations.recall(fleet.services)
    assert by_hand(fleet).exit_code == 0
    with planted(fleet) as expected:
        done = by_hand(fleet, "--json")
        assert done.exit_code == 3, done.stderr
        document = json.loads(done.stdout)
        new = {(one["check"], one["object"]) for one in document["findings"] if one["state"] == "new"}
        assert new == expected.keys()
        assert operations.recall(fleet.services) == memory

        out = fleet.folder / "scan.sarif"
        assert by_hand(fleet, "--format", "sarif", "--output", str(out)).exit_code == 3
        assert len(json.loads(out.read_text())["runs"][0]["results"]) == len(document["findings"])
        assert out.stat().st_mode & 0o777 == 0o600
        high = by_hand(fleet, "--severity", "high").stdout
        assert "keys-file-mode" in high
        assert "keys-file-kind" not in high
        assert "not looked at: the cluster" in high
    assert by_hand(fleet, "--output", str(out)).exit_code == 2, "a table goes to no file"


def test_a_waived_critical_finding_fails_nothing_and_a_file_that_makes_no_sense_does(fleet: Fleet) -> None:
    file = fleet.folder / "waivers.toml"
    with planted(fleet) as expected:
        ((_, what),) = [key for key, severity in expected.items() if severity == "critical"]
        waiver = f'[[waiver]]\ncheck = "keys-file-mode"\nobject = "{what}"\nuntil = 2099-01-01\nreason = "a test"\n'
        file.write_text(waiver)
        done = by_hand(fleet, "--json")
        assert done.exit_code == 0
        assert [one["reason"] for one in json.loads(done.stdout)["waived_findings"]] == ["a test"]
    file.write_text("[[waiver]]\n")
    done = by_hand(fleet)
    assert (done.exit_code, "waivers" in done.stderr) == (2, True)
    file.write_text("")


def test_what_is_away_is_told_and_costs_its_part_alone(fleet: Fleet, tmp_path: Path) -> None:
    done = by_hand(
        fleet,
        "--json",
        G3ZKP_REDIS__URL="redis://127.0.0.1:1/0",
        G3ZKP_STORE__DIRECTORY__PATH=str(tmp_path / "none"),
        G3ZKP_AUDIT__LOG=str(tmp_path / "none.log"),
    )
    document = json.loads(done.stdout)
    assert "not compared with the last scan" in done.stderr
    assert {one["object"] for one in document["findings"] if one["check"] == "scan-blind"} >= {
        "Redis broker",
        "the age of the messenger's keys",
        "the audit log of the API server",
    }
    assert "keys-file-mode" in document["ran"]


# -- the monthly audit -------------------------------------------------------------------------------------------------


def test_the_audit_looks_at_every_backup_and_the_journal_and_its_run_fails_where_one_is_not_whole(fleet: Fleet) -> None:
    def audit(slot: str) -> dict[str, Any]:
        found: dict[str, Any] = fleet.send("observe.security_audit", slot=slot).get(timeout=90)
        return found

    def critical() -> set[str]:
        memory = operations.recall(fleet.services, whole=True)
        assert memory is not None
        return {one.check for one in memory.findings if one.severity == "critical"}

    assert audit("whole")["outcome"] == "ok"
    assert fleet.events(task="observe.security_audit", slot="whole", step="audit", event="finished")[0].outcome == "ok"

    archive = next(path for path in sorted(fleet.store.rglob("*.tar.zst.age")))
    was = archive.read_bytes()
    archive.chmod(0o600)
    archive.write_bytes(was[:-1] + bytes([was[-1] ^ 1]))
    assert (audit("damaged")["outcome"], critical()) == ("failed", {"backup-damaged"})
    unread = thorough.verified(fleet.services.primary_repository, VerifyMode.FULL, most_bytes=1)
    assert not any(one.problems for one in unread.value)
    assert "audit.verify_bytes=1" in unread.lacks[0][1]
    archive.write_bytes(was)
    assert (audit("mended")["outcome"], critical()) == ("ok", set())

    manifest = fleet.manifests()[0]
    genuine = manifest.read_bytes()
    manifest.chmod(0o600)
    manifest.write_bytes(genuine.replace(b'"full"', b'"flux"', 1))
    assert audit("replaced")["outcome"] == "failed"
    assert "backup-damaged" in critical()
    manifest.write_bytes(genuine)

    stream = fleet.services.redis
    ids = [entry for entry, _ in stream.xrange("g3zkp:journal", "-", "+")]
    stream.xdel("g3zkp:journal", ids[len(ids) // 2])
    assert (audit("altered")["outcome"], critical()) == ("failed", {"journal-altered"})
