"""Drills on real backups: what is whole passes, what is not fails by name, and both leave evidence; nothing else stays."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from trees import seen

from g3zkp_maint.backup import drill as drills
from g3zkp_maint.backup import manifest as documents
from g3zkp_maint.backup.drill import Drilled, DrillSite, drill, require_passed
from g3zkp_maint.backup.drill_redis import DUMP, loaded_by_any, loaded_server, look, server_programs
from g3zkp_maint.backup.evidence import read_all
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.row import WITH_CONTENT, encode
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.backup.sealing import seal
from g3zkp_maint.backup.unpack import Unpacker
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import DrillFailed, KeyMaterialError, SourceError, TemporaryError
from g3zkp_maint.platforms.local_exec import LocalExec
from g3zkp_maint.settings import Backup, Component, Drill, Reference
from g3zkp_maint.testing.backup_site import BackupSite, of_backup_fleet

pytestmark = pytest.mark.integration

BLOCKS = Reference(keys="user:*", field="avatar", file="ipfs/blocks/*/{}.data")


@dataclass
class Journal:
    """The steps, as the journal would be told of them."""

    outcomes: dict[str, str] = field(default_factory=dict)

    def step(self, name: str) -> Any:
        journal = self

        class Step:
            bytes = None

            def note(self, **facts: Any) -> None:
                assert not any("secret-name" in f"{key}{value}" for key, value in facts.items())

            def __setattr__(self, key: str, value: object) -> None:
                if key == "outcome":
                    journal.outcomes[name] = str(value)

        return nullcontext(Step())


class Place:
    """Where the messenger runs: a dump that is there already, and objects."""

    def __init__(self, dump: Path, objects: list[dict[str, Any]]) -> None:
        self._dump = dump
        self._objects = objects

    def exec(self, workload: str, argv: Any, stdin: Any = None) -> LocalExec:
        return LocalExec(argv, workload=workload, env={"PATH": os.environ["PATH"]}, cwd=Path("/"), stdin=stdin)

    def objects(self) -> list[dict[str, Any]]:
        return self._objects


OBJECTS: list[dict[str, Any]] = [
    {"kind": "Secret", "metadata": {"name": "keys"}, "data": {"key": "cGFzcw=="}},
    {
        "kind": "Deployment",
        "metadata": {"name": "messenger"},
        "spec": {"template": {"spec": {"volumes": [{"name": "k", "secret": {"secretName": "keys"}}]}}},
    },
]


@pytest.fixture
def tree(site: BackupSite) -> BackupSite:
    blocks = site.tree / "blocks" / "AB"
    blocks.mkdir(parents=True)
    for number in range(4):
        (blocks / f"CID{number}.data").write_bytes(os.urandom(400_000))
    (site.tree / "empty").touch()
    (site.tree / "secret-name").write_bytes(b"content")
    (site.tree / "secret-name").chmod(0o640)
    (site.tree / "link").symlink_to("secret-name")
    os.link(site.tree / "secret-name", site.tree / "twin")
    with (site.tree / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    return site


@pytest.fixture
def whole(tree: BackupSite, redis_url: str, tmp_path: Path) -> Iterator[Manifest]:
    """With a component of each kind, taken from a real server."""
    client = redis.Redis.from_url(redis_url)
    client.mset({f"key-{number}": os.urandom(20) for number in range(200)})
    client.set("soon", 1, ex=86_400)
    for number in range(3):
        client.hset(f"user:{number}", "avatar", f"CID{number}")
    yield take(tree, redis_url, OBJECTS)
    client.flushall()
    client.close()


def take(site: BackupSite, redis_url: str, objects: list[dict[str, Any]]) -> Manifest:
    components = (*site.components, Component(name="redis", kind="redis"), Component(name="k8s", kind="kubernetes"))
    settings = Backup(mounted_root=site.data, components=components, redis_url=redis_url, shard_bytes=1 << 20)
    fleet = Repository(site.store, of_backup_fleet(site.keyring))
    place: Any = Place(Path(), objects)
    return back_up(Workshop(fleet, settings, SystemClock(), Unguarded(), place), site.request())


def hold(site: BackupSite, name: str, journal: Journal | None = None, **settings: Any) -> Drilled:
    chosen = Drill(scratch=site.base / "scratch", **settings)
    step = (journal or Journal()).step
    return drill(DrillSite(site.repository, chosen, SystemClock(), Unguarded(), step), name, run="a-run")


def left(site: BackupSite) -> list[str]:
    return [path.name for path in (site.base / "scratch").iterdir() if path.name != ".lock"]


def outcomes(found: Drilled) -> dict[str, bool]:
    return {check.name: check.passed for check in found.evidence.checks}


# -- what passes -------------------------------------------------------------------------------------------------------


def test_a_whole_backup_passes_leaves_signed_evidence_and_nothing_else(tree: BackupSite, whole: Manifest) -> None:
    journal, before = Journal(), seen(tree.data)
    found = hold(tree, whole.name, journal, references=(BLOCKS,))
    require_passed(found)
    assert outcomes(found) == {"files:ipfs": True, "redis:redis": True, "kubernetes:k8s": True}
    assert journal.outcomes == dict.fromkeys(outcomes(found), "ok")
    (kept,) = read_all(tree.repository)
    assert kept.evidence == found.evidence
    assert kept.key == found.key
    evidence = found.evidence
    assert (evidence.backup, evidence.run, evidence.outcome) == (whole.name, "a-run", "ok")
    assert evidence.recovery_ms > 0
    assert evidence.recovery_point_seconds == round((evidence.drilled_at - whole.planned_at).total_seconds())
    redis_check = next(check for check in evidence.checks if check.name == "redis:redis")
    assert redis_check.counts["keys"] == whole.component("redis").facts["keys"] == 204
    assert left(tree) == []
    assert seen(tree.data) == before


def test_evidence_holds_no_path_and_is_not_believed_once_changed(tree: BackupSite, whole: Manifest) -> None:
    found = hold(tree, whole.name)
    path = tree.objects / found.key
    raw = path.read_bytes()
    assert b"secret-name" not in raw
    document = json.loads(raw)
    for field_, value in (("outcome", "failed"), ("recovery_ms", 1), ("drilled_at", "2026-01-01T00:00:00Z")):
        path.write_bytes(json.dumps({**document, field_: value}).encode())
        (kept,) = read_all(tree.repository)
        assert kept.evidence is None
        assert kept.why
    path.rename(path.with_name(path.name.replace("full", "incremental")))
    path.with_name(path.name.replace("full", "incremental")).write_bytes(raw)
    (kept,) = read_all(tree.repository)
    assert "another's place" in kept.why


# -- what fails --------------------------------------------------------------------------------------------------------


def failed(found: Drilled, check: str) -> dict[str, Any]:
    with pytest.raises(DrillFailed, match=check) as caught:
        require_passed(found)
    assert "secret-name" not in str(caught.value)
    assert found.evidence.outcome == "failed"
    assert [one for one, passed in outcomes(found).items() if not passed] == [check]
    return next(dict(one.counts) for one in found.evidence.checks if one.name == check)


def test_a_damaged_archive_fails_the_drill_and_is_named_and_the_rest_is_still_tried(
    tree: BackupSite, whole: Manifest
) -> None:
    for archive in [one for one in whole.archives if one.component != "k8s"]:
        path = tree.objects / archive.key
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 4
        before = path.read_bytes()
        path.write_bytes(raw)
        kind = "redis:redis" if archive.component == "redis" else "files:ipfs"
        counts = failed(hold(tree, whole.name), kind)
        assert counts[archive.key] == "damaged"
        path.write_bytes(before)
        assert left(tree) == []
    assert len(read_all(tree.repository)) == len(whole.archives) - 1


TAMPERED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "content": ("other content", lambda root: (root / "secret-name").write_bytes(b"CONTENT")),
    "longer": ("of another size", lambda root: (root / "secret-name").write_bytes(b"content and more")),
    "mode": ("of another mode", lambda root: (root / "empty").chmod(0o777)),
    "missing": ("missing", lambda root: (root / "empty").unlink()),
    "extra": ("not in the backup", lambda root: (root / "extra").touch()),
    "kind": ("of another kind", lambda root: ((root / "empty").unlink(), (root / "empty").mkdir())),
    "link": ("another link", lambda root: ((root / "link").unlink(), (root / "link").symlink_to("elsewhere"))),
    "twins": ("of another kind", lambda root: ((root / "twin").unlink(), (root / "twin").write_bytes(b"content"))),
    "hole": ("other content", lambda root: (root / "sparse").open("r+b").write(b"x")),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_what_the_extractor_would_get_wrong_is_found_by_the_independent_read(
    tree: BackupSite, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """The extractor is real; what comes between it and the read stands for its mistakes."""
    what, spoil = TAMPERED[case]
    made = tree.back_up()

    class Mistaken(Unpacker):
        def unpack(self, manifest: Manifest, component: str) -> Any:
            done = super().unpack(manifest, component)
            assert isinstance(self.target, MountedTarget)
            spoil(self.target.root / "ipfs")
            return done

    monkeypatch.setattr(drills, "Unpacker", Mistaken)
    found = hold(tree, made.name)
    counts = failed(found, "files:ipfs")
    assert counts[what] == 1
    assert found.paths


def test_a_dump_of_other_keys_than_were_counted_fails(tree: BackupSite, whole: Manifest) -> None:
    manifest = recounted(tree, whole, keys=300)
    assert failed(hold(tree, manifest.name), "redis:redis")["in the backup"] == 300


def recounted(site: BackupSite, made: Manifest, **facts: int) -> Manifest:
    """The same backup, whose (rightly signed) manifest counts otherwise."""
    components = [
        one.model_copy(update={"facts": {**one.facts, **facts}}) if one.kind == "redis" else one
        for one in made.components
    ]
    changed = made.model_copy(update={"components": tuple(components)})
    raw = documents.signed(changed, site.keyring)
    (site.objects / made.folder / "MANIFEST.json").write_bytes(raw)
    return site.repository.manifest(made.name)


def test_a_key_that_refers_to_a_block_that_is_not_in_the_set_fails(
    tree: BackupSite, redis_url: str, whole: Manifest
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset("user:9", "avatar", "CID-of-nothing")
        client.set("user:string", "of another type")
    made = take(tree, redis_url, OBJECTS)
    found = hold(tree, made.name, references=(BLOCKS,))
    assert failed(found, "redis:redis")["user:* refer to nothing"] == 1
    assert any("CID-of-nothing" in path for path in found.paths)
    require_passed(hold(tree, made.name, references=(BLOCKS.model_copy(update={"may_miss": 1}),)))


@pytest.mark.parametrize(
    ("objects", "what"),
    [
        ([{"kind": "ConfigMap"}], "without kind or name"),
        ([OBJECTS[1]], "Secret keys is missing"),
        ([{"metadata": {"name": "x"}}], "without kind or name"),
    ],
)
def test_objects_that_are_none_or_lack_what_they_refer_to_fail(
    tree: BackupSite, redis_url: str, objects: list[dict[str, Any]], what: str
) -> None:
    made = take(tree, redis_url, objects)
    assert failed(hold(tree, made.name), "kubernetes:k8s")[what] == 1


# -- what cannot be carried out ----------------------------------------------------------------------------------------


def test_without_room_without_a_server_or_without_keys_it_says_so_and_leaves_no_evidence(
    tree: BackupSite, whole: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        real = os.statvfs
        patch.setattr(os, "statvfs", lambda path: Full(real(path)))
        with pytest.raises(DrillFailed, match=r"needs \d+ MiB in .*scratch, and 0 MiB are free"):
            hold(tree, whole.name)
    with pytest.raises(DrillFailed, match="no such-server here"):
        hold(tree, whole.name, redis_server="such-server")
    site = DrillSite(
        Repository(tree.store, of_backup_fleet(tree.keyring)),
        Drill(scratch=tree.base / "scratch"),
        SystemClock(),
        Unguarded(),
        Journal().step,
    )
    with pytest.raises(KeyMaterialError, match="recovery identity"):
        drill(site, whole.name, run="a-run")
    assert read_all(tree.repository) == []
    assert left(tree) == []


class Full:
    """A file system without room."""

    def __init__(self, real: os.statvfs_result) -> None:
        self._real = real
        self.f_bavail = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_a_scratch_folder_that_others_may_enter_is_refused(tree: BackupSite) -> None:
    made = tree.back_up()
    (tree.base / "scratch").mkdir(mode=0o755)
    (tree.base / "scratch").chmod(0o755)
    with pytest.raises(DrillFailed, match="nobody else may enter"):
        hold(tree, made.name)


def test_a_second_drill_at_a_time_waits(tree: BackupSite) -> None:
    made = tree.back_up()
    hold(tree, made.name)
    with (tree.base / "scratch" / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TemporaryError, match="another drill"):
            hold(tree, made.name)
    require_passed(hold(tree, made.name))


KILLED = """
import sys
from pathlib import Path
from g3zkp_maint.backup.drill_redis import loaded_server, server_programs
from g3zkp_maint.backup.scratch import scratch_folder
from g3zkp_maint.clock import SystemClock
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "files").mkdir()
    (folder / "files" / "secret").write_bytes(b"in the clear")
    (folder / "files").chmod(0)
    (folder / "redis").mkdir()
    with loaded_server(server_programs(None)[0], folder / "redis", clock=SystemClock(), deadline_seconds=20) as client:
        print(client.info("server")["process_id"], flush=True)
        sys.stdin.read()
"""


def test_what_a_killed_drill_has_left_is_removed_and_its_server_ended(tree: BackupSite) -> None:
    made = tree.back_up()
    argv = [sys.executable, "-c", KILLED, str(tree.base / "scratch")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        server = int(killed.stdout.readline())
        killed.send_signal(signal.SIGKILL)
    assert len(left(tree)) == 1
    assert is_running(server)
    require_passed(hold(tree, made.name))
    assert left(tree) == []
    until = time.monotonic() + 10
    while is_running(server):
        assert time.monotonic() < until, "the server of the killed drill lives"


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_dump_that_the_server_refuses_is_a_damaged_backup(tmp_path: Path) -> None:
    (tmp_path / DUMP).write_bytes(b"REDIS9999" + bytes(100))
    refused = loaded_server(server_programs(None)[0], tmp_path, clock=SystemClock(), deadline_seconds=20)
    with pytest.raises(SourceError, match="refused the dump"), refused:
        pass


def test_where_one_server_refuses_a_dump_the_next_is_tried(tmp_path: Path) -> None:
    """A Redis reads no dump of Valkey's, and the other way round only older ones."""
    programs = ["/bin/false", server_programs(None)[0]]
    with loaded_by_any(programs, tmp_path, clock=SystemClock(), deadline_seconds=20) as client:
        assert look(client).keys == 0


def test_a_server_in_a_folder_with_a_long_name_is_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 50)
    folder.mkdir()
    with loaded_server(server_programs(None)[0], folder, clock=SystemClock(), deadline_seconds=20) as client:
        assert look(client).keys == 0


def test_an_index_that_does_not_fit_its_archives_is_found(tree: BackupSite) -> None:
    """As a backup would be whose maker was wrong: everything is signed, and the rows say what is not so."""
    made = tree.back_up()
    component = made.component("ipfs")
    assert component.index is not None
    rows = list(tree.repository.rows(made, "ipfs"))
    wrong = next(row for row in rows if row.kind in WITH_CONTENT and row.size)
    wrong.digest = "0" * 64
    (tree.objects / component.index.key).unlink()
    lines = b"".join(encode(row) + b"\n" for row in rows)
    sealed = seal(tree.store, component.index.key, [lines], recipients=tree.keyring.index_recipients(), level=3)
    index = component.index.model_copy(
        update={"size": sealed.size, "sha256": sealed.digest, "plain_size": sealed.plain_size}
    )
    changed = made.model_copy(update={"components": (component.model_copy(update={"index": index}),)})
    raw = documents.signed(changed, tree.keyring)
    (tree.objects / made.folder / "MANIFEST.json").write_bytes(raw)
    counts = failed(hold(tree, made.name), "files:ipfs")
    assert counts == {"damaged objects": 0, "error": "archive-corrupt"}
