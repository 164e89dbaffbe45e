"""`backup restore` onto a real embedded stack: killed at every step and resumed by hand, of some paths, and taken back; and
the whole life of backups by hand where the store is a bucket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from test_import_on_valkey import OLD, make_artefacts
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli.failure import PARTIAL
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.stack import ports
from g3zkp_maint.stack.environment import Access, fleet_environment
from g3zkp_maint.stack.first_start import ensure_password
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.testing.backup_place import COMPONENTS, BackupPlace, entered
from g3zkp_maint.testing.open_window import opened
from g3zkp_maint.testing.running_stack import running_stack, wait_for
from g3zkp_maint.testing.seaweed import ADMIN, Seaweed
from g3zkp_maint.windows import words

pytestmark = pytest.mark.integration

SURE = ("--force", "--reason", "a test")
TASK = "crypto.restore"
STEPS = ("check", "safety", "stop", "files", "redis", "start", "health")
TRY_AGAIN = 75


@dataclass(frozen=True)
class Site:
    """The stack's data and services, in whose environment the test is."""

    data: Path
    services: Services
    messengers_redis: redis.Redis

    def fill(self) -> None:
        """Beside what the messenger makes for itself when it starts."""
        for number in range(4):
            shutil.rmtree(self.data / "ipfs" / "blocks" / f"{number:02}", ignore_errors=True)
        for number in range(40):
            path = self.data / "ipfs" / "blocks" / f"{number % 4:02}" / f"{number}.data"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(512 << 10))
        (self.data / "keys" / "identity").write_bytes(b"not a real key")
        self.messengers_redis.flushall()
        self.messengers_redis.mset({f"key:{number}": number for number in range(300)})

    def spoil(self) -> None:
        shutil.rmtree(self.data / "ipfs" / "blocks" / "00")
        (self.data / "ipfs" / "blocks" / "01" / "1.data").write_bytes(b"changed")
        (self.data / "ipfs" / "blocks" / "01" / "new.data").write_bytes(b"since then")
        (self.data / "keys" / "identity").write_bytes(b"rotated")
        self.messengers_redis.flushall()

    def tree(self) -> dict[str, bytes]:
        found = (path for folder in ("ipfs", "keys") for path in (self.data / folder).rglob("*"))
        return {str(path.relative_to(self.data)): path.read_bytes() for path in found if path.is_file()}

    def instances(self) -> tuple[int, int]:
        running = {one.name: (one.desired, one.ready) for one in self.services.platform.workloads()}
        return running[MESSENGER]

    def begun(self, step: str, slot: str) -> bool:
        events = (record.event for record in self.services.journal.read(task=TASK))
        return any(one.event == "started" and (one.step, one.slot) == (step, slot) for one in events)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    state = tmp_path_factory.mktemp("stack") / "state"
    with running_stack(state, "--no-fleets", "--no-flower") as stack:
        yield stack.layout
    shutil.rmtree(state)


@pytest.fixture
def site(layout: Layout, request: pytest.FixtureRequest) -> Iterator[Site]:
    """`request.param`: how the messenger's files are reached."""
    source = getattr(request, "param", "mounted")
    with entered({**_settings(layout), "G3ZKP_BACKUP__SOURCE": source}):
        services = Services()
        url = services.settings.backup.redis_url
        assert url is not None
        with redis.Redis.from_url(url.get_secret_value()) as client:
            yield Site(layout.messenger_data, services, client)


def _settings(layout: Layout) -> dict[str, str]:
    chosen = ports.load(layout.ports)
    assert chosen is not None
    redis_password, coordination_password = (
        ensure_password(folder.parent) for folder in (layout.redis_data, layout.coordination)
    )
    access = Access(chosen, redis_password=redis_password, coordination_password=coordination_password)
    return {
        **fleet_environment(layout, "crypto", access),
        "G3ZKP_BACKUP__COMPONENTS": json.dumps([*COMPONENTS, {"name": "redis", "kind": "redis"}]),
        "G3ZKP_COORDINATION__LEASE_TTL_SECONDS": "2.5",
        "G3ZKP_COORDINATION__LEASE_RENEW_SECONDS": "0.4",
        "G3ZKP_COORDINATION__MAX_ATTEMPTS": "30",
        # Tests open their own: none may end otherwise on a Sunday at three.
        "G3ZKP_WINDOWS__RECURRING": "[]",
    }


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.app, ["backup", *args], prog_name="g3zkp-maint")


def told(*args: str) -> dict[str, Any]:
    result = invoke(*args, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


class ByHand:
    """One restore, by as many processes as it takes."""

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        before = self._runs()
        self._process = self._start(name, "--yes-i-mean", name, *SURE)
        wait_for(lambda: self._runs() != before, 20, lambda: "no restore was ever on record")
        (self.run,) = self._runs() - before

    def kill_in(self, step: str) -> None:
        """Waits for the step to begin, and kills whoever is at it."""
        wait_for(lambda: self._is_at(step), 30, lambda: f"step {step} never began")
        self._process.kill()
        self._process.communicate(timeout=10)

    def finish(self) -> dict[str, Any]:
        wait_for(lambda: self._resumed().poll() == 0, 60, lambda: "the restore never came to its end")
        found: dict[str, Any] = json.loads(self._process.communicate(timeout=10)[0])
        return found

    def _runs(self) -> set[str]:
        return {record.slot for record in self._site.services.runs.recent(TASK)}

    def _is_at(self, step: str) -> bool:
        self._resumed()
        return self._site.begun(step, self.run)

    def _resumed(self) -> subprocess.Popen[bytes]:
        """The process; another one where it was killed, or came before the lease of the killed one had run out."""
        code = self._process.poll()
        if code is not None and code < 0:
            self._process = self._start("--resume", self.run)
        elif code == TRY_AGAIN:
            self._process.communicate(timeout=10)
            self._process = self._start("--resume", self.run)
        elif code:
            raise AssertionError(f"the restore ended with {code}: {self._process.communicate(timeout=10)}")
        return self._process

    def _start(self, *args: str) -> subprocess.Popen[bytes]:
        code = "from g3zkp_maint.cli import main; main()"
        command = [sys.executable, "-c", code, "backup", "restore", *args, "--json"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("site", ["mounted", "exec"], indirect=True)
def test_a_restore_killed_at_every_step_goes_on_by_resume_until_all_is_as_before(site: Site) -> None:
    site.fill()
    before, instances = site.tree(), site.instances()
    name = told("run", "full")["name"]
    site.spoil()
    spoilt = site.tree()
    restore = ByHand(site, name)
    for step in STEPS:
        restore.kill_in(step)
    result = restore.finish()
    assert (result["backup"], result["redis_keys"], result["run"]) == (name, 300, restore.run)
    assert site.tree() == before
    assert site.messengers_redis.get("key:17") == b"17"
    assert site.instances() == instances == (1, 1)
    assert site.services.repository.manifest(result["safety"]).run == f"safety:{restore.run}"

    undone = told("undo", restore.run, "--yes-i-mean", result["safety"], *SURE)
    assert site.tree() == spoilt
    assert site.messengers_redis.dbsize() == 0
    assert site.instances() == instances
    again = told("undo", undone["run"], "--yes-i-mean", undone["safety"], *SURE)
    assert (site.tree(), site.messengers_redis.dbsize()) == (before, 300)
    assert again["safety"] not in {undone["safety"], result["safety"]}


def test_outside_of_a_window_a_restore_needs_force_and_a_reason_and_in_one_neither(site: Site) -> None:
    site.fill()
    name = told("run", "full")["name"]
    site.spoil()
    wish = ("restore", name, "--path", "keys/identity", "--yes-i-mean", name)
    for more in ((), ("--force",), ("--reason", "why not"), ("--force", "--reason", " ")):
        refused = invoke(*wish, *more)
        assert (refused.exit_code, "[outside-window]" in refused.output) == (1, True), refused.output
        assert "force and a reason" in refused.output
    assert (site.data / "keys" / "identity").read_bytes() == b"rotated"
    with opened(site.services) as window:
        done = told(*wish)
    assert (site.data / "keys" / "identity").read_bytes() == b"not a real key"
    events = [record.event for record in site.services.journal.read(task=TASK)]
    (leave,) = [one for one in events if (one.slot, one.step, one.event) == (done["run"], words.STEP, "finished")]
    assert (leave.detail["leave"], leave.detail["window"]) == ("window", window.id)


@pytest.mark.parametrize("site", ["mounted", "exec"], indirect=True)
def test_a_restore_of_some_paths_leaves_all_else_and_is_undone_for_those_alone(site: Site) -> None:
    site.fill()
    before = site.tree()
    name = told("run", "full")["name"]
    site.spoil()
    spoilt = site.tree()
    result = told("restore", name, "--path", "ipfs/blocks/01/*", "--yes-i-mean", name, *SURE)
    folder = "ipfs/blocks/01/"
    elsewhere = {path: content for path, content in spoilt.items() if not path.startswith(folder)}
    restored = {path: content for path, content in before.items() if path.startswith(folder)}
    assert site.tree() == {**elsewhere, **restored}
    assert (result["written"], result["removed"], result["components"]) == (1, 1, ["ipfs"])
    assert result["redis_keys"] is None
    assert site.messengers_redis.dbsize() == 0

    (site.data / "ipfs" / "blocks" / "02" / "later.data").write_bytes(b"written after the restore")
    plan = told("undo", result["run"], "--dry-run")
    assert (plan["paths"], plan["backup"]) == (["ipfs/blocks/01/*"], result["safety"])
    told("undo", result["run"], "--confirm", plan["token"], *SURE)
    assert site.tree() == {**spoilt, "ipfs/blocks/02/later.data": b"written after the restore"}


def test_undo_removes_what_was_not_there_before_the_restore(site: Site) -> None:
    site.fill()
    name = told("run", "full")["name"]
    site.spoil()
    spoilt = site.tree()
    result = told("restore", name, "--path", "ipfs/blocks/00", "--yes-i-mean", name, *SURE)
    assert (result["written"], result["removed"]) == (10, 0)
    undone = told("undo", result["run"], "--yes-i-mean", result["safety"], *SURE)
    assert (undone["written"], undone["removed"]) == (0, 11)
    assert site.tree() == spoilt
    assert not (site.data / "ipfs/blocks/00").exists()


def test_undo_of_a_restore_that_took_no_safety_backup_says_so(site: Site) -> None:
    site.fill()
    name = told("run", "full")["name"]
    result = told("restore", name, "-c", "keys", "--no-safety", "--yes-i-mean", name, *SURE)
    refused = invoke("undo", result["run"])
    assert refused.exit_code == 1
    assert "took none (--no-safety" in refused.stderr


def test_objects_that_are_refused_make_it_partial_with_an_exit_code_of_its_own(site: Site, layout: Layout) -> None:
    role, kept = (layout.root / "configmaps" / name for name in ("role.json", "kept.json"))
    role.parent.mkdir(exist_ok=True)
    metadata = {"resourceVersion": "1", "annotations": {}, "namespace": "g3zkp"}
    api = "rbac.authorization.k8s.io/v1"
    role.write_text(json.dumps({"apiVersion": api, "kind": "Role", "metadata": {**metadata, "name": "role"}}))
    kept.write_text(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata, "name": "kept"}}))
    objects = json.dumps([{"name": "k8s", "kind": "kubernetes"}])
    with entered({"G3ZKP_BACKUP__COMPONENTS": objects}):
        name = told("run", "full")["name"]
        role.unlink()
        kept.unlink()
        wish = ("restore", name, "-c", "k8s", "--yes-i-mean", name, *SURE)
        ended = invoke(*wish, "--json")
        assert ended.exit_code == PARTIAL, ended.output
        found = json.loads(ended.stdout)
        assert (found["outcome"], found["objects"]["created"], found["objects"]["refused"]) == ("partial", 1, 1)
        refusal, created = found["objects"]["reports"]
        assert refusal["object"] == "Role.rbac.authorization.k8s.io/role"
        assert "not applied here" in refusal["reason"]
        assert created == {"object": "ConfigMap/kept", "outcome": "created", "reason": ""}
        assert kept.exists()
        assert "refused  Role/role is not applied here" in invoke(*wish).stdout
    last = CliRunner().invoke(cli.app, ["runs", "--failed", "--json"], prog_name="g3zkp-maint")
    run = next(one for one in json.loads(last.stdout) if one["slot"] == found["run"])
    assert (run["task"], run["outcome"]) == (TASK, "partial")


# -- in a bucket ---------------------------------------------------------------------------------------------------------

BUCKET, PREFIX = "life-of-backups", "messenger/one"


@pytest.fixture
def bucket(site: Site, seaweed: Seaweed) -> Iterator[Any]:
    """A client of the bucket that is the store."""
    client = seaweed.client()
    client.create_bucket(Bucket=BUCKET)
    in_bucket = {
        "G3ZKP_STORE__KIND": "s3",
        "G3ZKP_STORE__PREFIX": PREFIX,
        "G3ZKP_STORE__S3__BUCKET": BUCKET,
        "G3ZKP_STORE__S3__ENDPOINT_URL": seaweed.endpoint_url,
        "G3ZKP_STORE__S3__PATH_STYLE": "true",
        "G3ZKP_STORE__S3__ACCESS_KEY_ID": ADMIN.key_id,
        "G3ZKP_STORE__S3__SECRET_ACCESS_KEY": ADMIN.secret,
        "G3ZKP_VERIFY__REREAD_DAYS": "1",
    }
    with entered(in_bucket):
        yield client


def test_backups_in_a_bucket_are_drilled_built_on_reread_restored_after_a_kill_and_imported(
    site: Site, bucket: Any, tmp_path: Path
) -> None:
    site.fill()
    full = told("run", "full")["name"]
    assert told("drill", full)["outcome"] == "ok"

    (site.data / "ipfs" / "blocks" / "03" / "later.data").write_bytes(b"since the full")
    site.messengers_redis.set("since", "the full")
    before = site.tree()
    incremental = told("run", "incremental")["name"]
    manifest = Services().repository.manifest(incremental)
    assert (manifest.parent, {archive.backup for archive in manifest.archives}) == (full, {full, incremental})

    damaged = next(one.key for one in manifest.archives if (one.backup, one.component) == (full, "ipfs"))
    stored = flip(bucket, f"{PREFIX}/{damaged}")
    found = invoke("reread")
    assert found.exit_code == 1
    assert f"damaged: {damaged} holds" in found.stderr
    assert "ipfs/blocks/" in found.stderr
    bucket.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{damaged}", Body=stored)

    site.spoil()
    restore = ByHand(site, incremental)
    restore.kill_in("files")
    restore.finish()
    assert site.tree() == before
    assert (site.messengers_redis.get("since"), site.messengers_redis.dbsize()) == (b"the full", 301)

    old = old_set(bucket, tmp_path, full)
    (line,) = told("import", "store:legacy/")["sets"]
    assert (line["backup"], line["outcome"]) == (OLD, "ok")
    told("restore", OLD, "--to", str(tmp_path / "out"))
    assert old.tree(tmp_path / "out") == old.tree()
    assert not bucket.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def flip(client: Any, key: str) -> bytes:
    """One bit of an object; returns what was there."""
    before: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    raw = bytearray(before)
    raw[len(raw) // 2] ^= 1
    client.put_object(Bucket=BUCKET, Key=key, Body=bytes(raw))
    return before


def old_set(client: Any, folder: Path, backup: str) -> BackupPlace:
    """The old scripts' artefacts of another folder, with a dump out of that backup, as `aws s3 sync` put them there."""
    place = BackupPlace.make(folder / "old")
    assert invoke("extract", backup, "redis", "-o", str(folder / "dump.rdb")).exit_code == 0
    for path in make_artefacts(place, folder / "dump.rdb", folder / "artefacts", OLD).iterdir():
        client.put_object(Bucket=BUCKET, Key=f"legacy/2025/01/{path.name}", Body=path.read_bytes())
    return place
