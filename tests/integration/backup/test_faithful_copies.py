"""What is restored is what was there: every path, and all that is to be said of it. From a mounted folder into one, and
by commands where the folder is.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trees
from trees import DEPTH, HOLE, IS_ROOT, become_nobody, in_child, make_everything, seen

from g3zkp_maint.backup.manifest import Manifest, Outcome
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.testing.backup_site import BackupSite

pytestmark = pytest.mark.integration


@pytest.fixture(params=["mounted", "exec"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> BackupSite:
    return BackupSite(tmp_path, by_exec=request.param == "exec")


def assert_same(site: BackupSite, one: Path, other: Path) -> None:
    trees.assert_same(one, other, times_to_ns=1000 if site.by_exec else 1)  # node sets times in microseconds


def stored_bytes(manifest: Manifest) -> int:
    return manifest.component("ipfs").counts.new_bytes


@pytest.fixture(autouse=True)
def _few_descriptors() -> Iterator[None]:
    """Far fewer than the tree is deep: nothing may hold one a level."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "file"
    path.parent.mkdir()
    path.write_bytes(b"not ours")
    return path


@pytest.fixture
def whole(site: BackupSite, outside: Path) -> Iterator[Manifest]:
    make_everything(site.tree, outside)
    yield site.back_up()
    # Python's rmtree, which pytest cleans up with, fails in trees as deep as this one.
    subprocess.run(["rm", "-rf", "--", *site.base.iterdir()], check=True)


def test_everything_a_file_system_can_hold_is_restored_as_it_was(
    site: BackupSite, whole: Manifest, outside: Path, tmp_path: Path
) -> None:
    before = seen(outside.parent)
    assert whole.outcome is Outcome.OK
    assert whole.component("ipfs").counts.notes == {"socket": 1}
    assert len(whole.archives) > 3
    site.restore(whole, tmp_path / "to")
    assert_same(site, site.tree, tmp_path / "to" / "ipfs")
    assert whole.component("ipfs").counts.entries == len(seen(site.tree))
    assert (tmp_path / "to" / "ipfs" / "sparse").stat().st_size > HOLE
    assert (tmp_path / "to" / "ipfs" / "sparse").stat().st_blocks * 512 < 1 << 20
    assert seen(outside.parent) == before
    assert verify(site.repository, whole, VerifyMode.FULL).is_whole
    assert len(os.listdir(tmp_path / "to" / "ipfs" / "deep")) == 1
    assert sum(path.startswith(b"/deep/d") for path in seen(site.tree)) == DEPTH + 3 + 1

    # And again over itself: nothing is there to be done.
    again = site.restore(whole, tmp_path / "to")
    assert (again.written, again.removed) == (1, 0)  # the first path of hard links is always made anew
    assert_same(site, site.tree, tmp_path / "to" / "ipfs")


def test_an_incremental_of_nothing_stores_nothing_and_restores_all(
    site: BackupSite, whole: Manifest, tmp_path: Path
) -> None:
    same = site.back_up("incremental")
    assert (same.type, same.parent, stored_bytes(same)) == ("incremental", whole.name, 0)
    counts = same.component("ipfs").counts
    assert counts.model_copy(update={"new_bytes": 0}) == whole.component("ipfs").counts.model_copy(
        update={"new_bytes": 0}
    )
    site.restore(same, tmp_path / "to")
    assert_same(site, site.tree, tmp_path / "to" / "ipfs")


def test_an_incremental_after_every_sort_of_change_is_restored_over_the_old_tree(
    site: BackupSite, whole: Manifest, tmp_path: Path
) -> None:
    target = tmp_path / "to"
    site.restore(whole, target)
    change_everything(site.tree)
    after = site.back_up("incremental")
    assert after.outcome is Outcome.OK
    (target / "ipfs" / "extra" / "deep").mkdir(parents=True)
    (target / "ipfs" / "extra" / "deep" / "file").write_bytes(b"not in the snapshot")
    if IS_ROOT:
        os.chown(target / "ipfs" / "at-the-limit", 4321, 4321)
    site.restore(after, target)
    assert_same(site, site.tree, target / "ipfs")
    site.restore(after, tmp_path / "fresh")
    assert_same(site, site.tree, tmp_path / "fresh" / "ipfs")
    site.restore(whole, target)  # and back again, with all types changed the other way
    site.restore(whole, tmp_path / "first")
    assert_same(site, tmp_path / "first" / "ipfs", target / "ipfs")


def change_everything(top: Path) -> None:
    same_times = top / "at-the-limit"
    times = same_times.stat()
    same_times.write_bytes(os.urandom(512 << 10))
    os.utime(same_times, ns=(times.st_atime_ns, times.st_mtime_ns))
    (top / "empty-file").write_bytes(b"no more")
    (top / "*").rename(top / "renamed")
    (top / "...").unlink()
    (top / "-leading").unlink()
    (top / "-leading").mkdir()  # file to folder
    (top / "-leading" / "f").write_bytes(b"was a file")
    shutil.rmtree(top / ("a" * 100))
    (top / ("a" * 100)).write_bytes(b"was a folder with folders")
    (top / "fifo").unlink()
    (top / "fifo").write_bytes(b"was a fifo")
    (top / " ").unlink()
    (top / " ").symlink_to("was a file")
    (top / "empty-folder").rmdir()
    (top / "empty-folder").symlink_to("was a folder")
    (top / "links" / "dangling").unlink()
    (top / "links" / "dangling").mkdir()
    (top / "links" / "to-a-file").unlink()
    (top / "links" / "to-a-file").symlink_to("../elsewhere")
    (top / "links" / "hard-1").unlink()  # the first of the set, as it is sorted
    (top / "links" / "hard-3").unlink()
    (top / "links" / "hard-3").write_bytes(b"a file of its own")
    (top / "deep").rename(top / "not-so-deep")
    (top / "deep").write_bytes(b"1,200 folders become a file")


CHANGES: dict[str, Callable[[Path], object]] = {
    "touched": os.utime,
    "a new mode": lambda path: path.chmod(0o600),
    "a new owner": lambda path: os.chown(path, 77, 78) if IS_ROOT else path.chmod(0o640),
    "rewritten with the same": lambda path: path.write_bytes(path.read_bytes()),
    "replaced by a copy": lambda path: (
        shutil.copy(path, path.with_name("copy")) and path.with_name("copy").rename(path)
    ),
}


@pytest.mark.parametrize("size", [100, 3 << 20])
@pytest.mark.parametrize("change", CHANGES)
def test_content_that_did_not_change_is_not_stored_again(
    site: BackupSite, change: str, size: int, tmp_path: Path
) -> None:
    file = site.tree / "file"
    file.write_bytes(os.urandom(size))
    site.back_up()
    CHANGES[change](file)
    after = site.back_up("incremental")
    assert stored_bytes(after) == 0
    site.restore(after, tmp_path / "to")
    assert_same(site, site.tree, tmp_path / "to" / "ipfs")


@pytest.mark.parametrize("size", [100, 3 << 20])
def test_content_that_changed_under_the_same_size_and_time_is_stored(
    site: BackupSite, size: int, tmp_path: Path
) -> None:
    file = site.tree / "file"
    file.write_bytes(os.urandom(size))
    times = file.stat()
    site.back_up()
    with open(file, "r+b") as stream:
        stream.write(os.urandom(50))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = site.back_up("incremental")
    assert stored_bytes(after) == size
    site.restore(after, tmp_path / "to")
    assert_same(site, site.tree, tmp_path / "to" / "ipfs")


def test_a_chain_of_incrementals_needs_no_replay(site: BackupSite, tmp_path: Path) -> None:
    made = []
    for number in range(5):
        (site.tree / f"file-{number}").write_bytes(os.urandom(1000))
        (site.tree / "changing").write_bytes(b"%d" % number)
        (site.tree / f"file-{number - 3}").unlink(missing_ok=True)
        shutil.copytree(site.tree, tmp_path / f"copy-{number}")
        made.append(site.back_up("full" if number == 0 else "incremental"))
    for number, manifest in enumerate(made):
        site.restore(manifest, tmp_path / f"to-{number}")
        expected = {path: one.content for path, one in seen(tmp_path / f"copy-{number}").items()}
        assert {path: one.content for path, one in seen(tmp_path / f"to-{number}" / "ipfs").items()} == expected


def test_two_archive_processes_make_the_same_backup(site: BackupSite, tmp_path: Path) -> None:
    for number in range(60):
        (site.tree / f"{number}").write_bytes(os.urandom(100_000))
    made = site.back_up(processes=2)
    site.restore(made, tmp_path / "to")
    assert_same(site, site.tree, tmp_path / "to" / "ipfs")


@pytest.mark.skipif(not IS_ROOT, reason="gives up root for the owner of the tree")
@pytest.mark.parametrize("by_exec", [False, True])
def test_an_owner_without_root_restores_again_over_folders_it_made_read_only(
    public_site: BackupSite, by_exec: bool
) -> None:
    site, target = public_site, public_site.base / "to"
    site.by_exec = by_exec
    folder = site.tree / "read-only"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    folder.chmod(0o555)
    made = site.back_up()
    target.mkdir()
    for path in (target, site.objects, *site.objects.rglob("*")):
        path.chmod(0o777)

    def twice() -> None:
        become_nobody()
        site.restore(made, target)
        (target / "ipfs" / "read-only").chmod(0o755)
        (target / "ipfs" / "read-only" / "file").write_bytes(b"changed")
        (target / "ipfs" / "read-only").chmod(0o555)
        site.restore(made, target)

    assert in_child(twice) == 0
    assert (target / "ipfs" / "read-only" / "file").read_bytes() == b"content"
    assert (target / "ipfs" / "read-only").stat().st_mode & 0o777 == 0o555
