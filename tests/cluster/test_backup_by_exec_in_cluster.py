"""Backups and restores of files by exec on a real cluster: byte for byte, only what changed, and never falsely whole."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from g3zkp_maint.backup.component import archive_shard
from g3zkp_maint.backup.manifest import Manifest, Outcome
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.places import files_target
from g3zkp_maint.backup.plan import BackupPlan
from g3zkp_maint.backup.prepare import prepare
from g3zkp_maint.backup.request import BackupRequest
from g3zkp_maint.backup.restore_plan import MESSENGER_TARGET
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.backup.unpack import Unpacked, Unpacker
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import TemporaryError
from g3zkp_maint.platforms.base import ExecStream
from g3zkp_maint.progress import NoProgress
from g3zkp_maint.testing.backup_place import BackupPlace, entered
from g3zkp_maint.testing.cluster_site import ClusterSite

pytestmark = pytest.mark.cluster

TREE = "by-exec"
UID = 1001


@dataclass
class Site:
    """A tree of its own in the messenger's volume, which is a folder of this machine; and what a backup of it needs."""

    tree: Path
    services: Services
    received: int = 0
    made: int = 0
    _platform: Any = field(init=False)

    def __post_init__(self) -> None:
        self._platform = self.services.platform
        self.services.__dict__["platform"] = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._platform, name)

    def exec(self, *args: Any, **options: Any) -> ExecStream:
        """The platform's, with what comes from it counted."""
        return Counted(self._platform.exec(*args, **options), self)

    def request(self, type: BackupType) -> BackupRequest:
        self.made += 1
        return BackupRequest(type, f"by-exec-{self.made}", self.services.clock.now())

    def back_up(self, type: BackupType = BackupType.FULL) -> Manifest:
        return back_up(self.services.workshop(Unguarded()), self.request(type))

    def restore(self, manifest: Manifest) -> Unpacked:
        with files_target(self.services.settings, self.services.platform, MESSENGER_TARGET) as target:
            done = Unpacker(self.services.repository, target, Unguarded()).unpack(manifest, TREE)
            target.settle()
            return done


@dataclass
class Counted:
    stream: ExecStream
    site: Site

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.stream:
            self.site.received += len(piece)
            yield piece

    def read_all(self, limit: int = 1 << 20) -> bytes:
        return self.stream.read_all(limit)

    def close(self) -> None:
        self.stream.close()


class Calling(NoProgress):
    """Calls back once, when so many bytes have been read."""

    def __init__(self, after: int, call: Callable[[], object]) -> None:
        self._left, self._call = after, call

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        before, self._left = self._left, self._left - bytes
        if before > 0 >= self._left:
            self._call()


@pytest.fixture
def site(cluster_site: ClusterSite, tmp_path: Path) -> Iterator[Site]:
    tree = cluster_site.data_dir / TREE
    tree.mkdir()
    place = BackupPlace.make(tmp_path / "place")
    environment = {
        **place.environment(),
        "KUBECONFIG": str(cluster_site.kubeconfig),
        "G3ZKP_PLATFORM__KIND": "kubernetes",
        "G3ZKP_PLATFORM__NAMESPACE": cluster_site.namespace,
        "G3ZKP_BACKUP__SOURCE": "exec",
        "G3ZKP_BACKUP__COMPONENTS": json.dumps([{"name": TREE, "kind": "files", "path": TREE}]),
        "G3ZKP_BACKUP__SHARD_BYTES": str(1 << 30),
    }
    with entered(environment):
        yield Site(tree, Services())
    remove(tree)


def remove(tree: Path) -> None:
    for folder, folders, files in os.walk(os.fsencode(tree), topdown=False):
        for name in files:
            os.unlink(folder + b"/" + name)
        for name in folders:
            path = folder + b"/" + name
            os.unlink(path) if os.path.islink(path) else os.rmdir(path)
    tree.rmdir()


def fill(tree: Path) -> None:
    """Names and kinds that lists and scripts stumble over, of owners that a restore must bring back."""
    raw = os.fsencode(tree)
    for name in (b"plain", b" ", b"new\nline", b"quo\"te's", b"back\\slash", b"-n", b"$(id)", b"*", b"latin-\xe9\xff"):
        Path(os.fsdecode(raw + b"/" + name)).write_bytes(b"content of " + name)
    (tree / "folder" / "below").mkdir(parents=True)
    (tree / "folder" / "below" / "large").write_bytes(os.urandom(3 << 20))
    (tree / "folder" / "below" / "empty").write_bytes(b"")
    (tree / "folder" / "link").symlink_to("../plain")
    (tree / "folder" / "out").symlink_to("/etc/passwd")
    os.link(tree / "plain", tree / "twin")
    os.mkfifo(tree / "fifo", 0o640)
    with (tree / "sparse").open("wb") as file:
        file.seek(64 << 20)
        file.write(b"end")
    for folder, folders, files in os.walk(raw):
        for name in [*folders, *files]:
            os.chown(folder + b"/" + name, UID, UID, follow_symlinks=False)
    os.chown(tree, UID, UID)
    os.chown(tree / "folder" / "below" / "large", 12_345, 54_321)
    (tree / "folder" / "below" / "large").chmod(0o4754)
    os.utime(tree / "plain", ns=(1, 1_234_567_890_123_456_789))


def seen(tree: Path) -> dict[bytes, tuple[object, ...]]:
    """Every path with all that a restore must bring back, times to the microsecond."""
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(tree)
    for folder, folders, files in os.walk(top):
        for path in [folder, *(folder + b"/" + name for name in [*folders, *files])]:
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = blake3(Path(os.fsdecode(path)).read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[path[len(top) :]] = (
                *(status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns // 1000),
                content,
            )
    return found


def test_a_full_and_an_incremental_restore_byte_for_byte_with_owners_and_move_only_what_changed(site: Site) -> None:
    fill(site.tree)
    before = seen(site.tree)
    full = site.back_up()
    assert (full.outcome, full.component(TREE).counts.notes) == (Outcome.OK, {})
    assert full.component(TREE).counts.entries == len(before)
    assert verify(site.services.repository, full, VerifyMode.FULL).is_whole
    # Of the sparse file's 64 MiB none but the end came over.
    assert site.received < 5_000_000

    site.received = 0
    for path in (site.tree / "plain", site.tree / "folder" / "below" / "large"):
        os.utime(path)
    (site.tree / "new").write_bytes(os.urandom(300_000))
    os.chown(site.tree / "new", UID, UID)
    (site.tree / "folder" / "below" / "empty").unlink()
    after = seen(site.tree)
    incremental = site.back_up(BackupType.INCREMENTAL)
    assert (incremental.parent, incremental.component(TREE).counts.new_bytes) == (full.name, 300_000)
    assert 300_000 < site.received < 320_000

    assert site.restore(full).removed == 1
    assert seen(site.tree) == before
    remove(site.tree / "folder")
    (site.tree / "sparse").write_bytes(b"spoilt")
    (site.tree / "since then").mkdir()
    site.restore(incremental)
    assert seen(site.tree) == after
    assert (site.tree / "sparse").stat().st_blocks * 512 < 1 << 20
    again = site.restore(incremental)
    assert (again.written, again.removed, again.owners_not_set) == (1, 0, 0)  # the first path of hard links


def test_a_pod_killed_in_the_middle_of_a_shard_fails_the_attempt_and_the_retry_makes_it_whole(
    site: Site, cluster_site: ClusterSite
) -> None:
    for number in range(100):
        (site.tree / f"{number:02}").write_bytes(os.urandom(1_000_000))
    before = seen(site.tree)

    def kill() -> None:
        # Returns when the containers are dead; what waits for us to read it is far less than what is left.
        cluster_site.kubectl("delete", "pods", "-l", "app=g3zkp", "--grace-period=1", "--wait=true")

    request = site.request(BackupType.FULL)
    workshop = site.services.workshop(Unguarded(), progress=Calling(5_000_000, kill))
    plan = prepare(workshop, request)
    assert isinstance(plan, BackupPlan)
    (shard,) = plan.shards
    with pytest.raises(TemporaryError):
        archive_shard(workshop, plan, shard.archive)
    stored = list(site.services.repository.store.list(plan.folder))
    assert not [one.key for one in stored if one.key.endswith((".tar.zst.age", "done.json", "MANIFEST.json"))]

    cluster_site.wait_ready()
    made = back_up(site.services.workshop(Unguarded()), request)
    assert made.name == plan.name
    assert made.outcome is Outcome.OK
    assert verify(site.services.repository, made, VerifyMode.FULL).is_whole
    for path in list(site.tree.iterdir())[::2]:
        path.unlink()
    site.restore(made)
    assert seen(site.tree) == before
