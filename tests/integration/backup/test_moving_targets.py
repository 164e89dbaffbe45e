"""Files that change while they are backed up: a true copy, or a backup that says that it is none."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from trees import IS_ROOT, become_nobody, in_child

from g3zkp_maint.backup import mounted, scan
from g3zkp_maint.backup.commit import commit
from g3zkp_maint.backup.component import archive_shard
from g3zkp_maint.backup.manifest import Manifest, Outcome
from g3zkp_maint.backup.plan import BackupPlan
from g3zkp_maint.backup.prepare import prepare
from g3zkp_maint.errors import SourceError
from g3zkp_maint.testing.backup_site import BackupSite


def notes(manifest: Manifest) -> dict[str, int]:
    return manifest.component("ipfs").counts.notes


def with_change_after_plan(site: BackupSite, change: Callable[[], object], type: str = "full") -> Manifest:
    """A backup whose tree changes between its plan and its shards."""
    workshop = site.workshop()
    plan = prepare(workshop, site.request(type))
    assert isinstance(plan, BackupPlan)
    change()
    for shard in plan.shards:
        archive_shard(workshop, plan, shard.archive)
    return commit(workshop, plan)


@contextmanager
def during_each_reading(monkeypatch: pytest.MonkeyPatch, change: Callable[[int], object]) -> Iterator[None]:
    """Calls `change` with the number of the call in every read(2) of the archiver, before it reads."""
    calls = 0
    real = os.read

    class Seam:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def read(self, fd: int, size: int) -> bytes:
            nonlocal calls
            calls += 1
            change(calls)
            return real(fd, size)

    with monkeypatch.context() as patch:
        patch.setattr(mounted, "os", Seam())
        yield


@pytest.mark.parametrize("size", [1000, 9 << 20])
def test_a_file_that_grows_all_the_time_is_stored_as_a_true_prefix(site: BackupSite, size: int, tmp_path: Path) -> None:
    file, stop, started = site.tree / "log", threading.Event(), threading.Event()
    file.write_bytes(os.urandom(size))

    def append() -> None:
        with open(file, "ab", buffering=0) as stream:
            while not stop.is_set():
                stream.write(os.urandom(50))
                started.set()

    writer = threading.Thread(target=append)
    writer.start()
    try:
        started.wait(10)
        made = site.back_up()
    finally:
        stop.set()
        writer.join()
    assert made.outcome is Outcome.OK
    assert notes(made) in ({"grew": 1}, {})
    site.restore(made, tmp_path / "to")
    stored = (tmp_path / "to" / "ipfs" / "log").read_bytes()
    assert len(stored) >= size
    assert file.read_bytes().startswith(stored)
    # It is no settled state: the next run looks again.
    site.restore(site.back_up("incremental"), tmp_path / "to")
    assert (tmp_path / "to" / "ipfs" / "log").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("size", [1000, 9 << 20])
def test_a_file_that_grows_in_every_reading_is_noted(
    site: BackupSite, size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = site.tree / "log"
    file.write_bytes(os.urandom(size))

    def grow(call: int) -> None:
        with open(file, "ab") as stream:
            stream.write(b"more")

    with during_each_reading(monkeypatch, grow):
        made = site.back_up()
    assert (made.outcome, notes(made)) == (Outcome.OK, {"grew": 1})
    site.restore(made, tmp_path / "to")
    assert file.read_bytes().startswith((tmp_path / "to" / "ipfs" / "log").read_bytes())


def rewrite(file: Path, size: int) -> Callable[[int], object]:
    return lambda call: file.write_bytes(bytes([call % 251]) * size)


def rewrite_shorter(file: Path, size: int) -> Callable[[int], object]:
    return lambda call: file.write_bytes(bytes([call % 251]) * max(size - call, 1))


def cut_and_grow(file: Path, size: int) -> Callable[[int], object]:
    """Longer each time it is looked at, and shorter each time it is read: zeros would stand for what is gone."""
    return lambda call: os.truncate(file, size // 2 if call % 2 else size + call)


@pytest.mark.parametrize("size", [1000, 9 << 20])
@pytest.mark.parametrize("change", [rewrite, rewrite_shorter, cut_and_grow])
def test_a_file_rewritten_in_every_reading_makes_the_backup_partial_and_nobodys_parent(
    site: BackupSite,
    size: int,
    change: Callable[[Path, int], Callable[[int], object]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (site.tree / "steady").write_bytes(b"steady")
    first = site.back_up()
    file = site.tree / "busy"
    file.write_bytes(os.urandom(size))
    with during_each_reading(monkeypatch, change(file, size)):
        made = site.back_up("incremental")
    assert (made.outcome, notes(made)) == (Outcome.PARTIAL, {"changed": 1})
    after = site.back_up("incremental")
    assert (after.outcome, after.parent) == (Outcome.OK, first.name)
    assert any(made.name in note and "partial" in note for note in after.notes)
    site.restore(after, tmp_path / "to")
    assert (tmp_path / "to" / "ipfs" / "busy").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("size", [1000, 9 << 20])
def test_a_file_that_changes_during_one_reading_is_read_again(
    site: BackupSite, size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = site.tree / "busy"
    file.write_bytes(os.urandom(size))
    with during_each_reading(monkeypatch, lambda call: call == 1 and file.write_bytes(os.urandom(size + 5))):
        made = site.back_up()
    assert (made.outcome, notes(made)) == (Outcome.OK, {})
    site.restore(made, tmp_path / "to")
    assert (tmp_path / "to" / "ipfs" / "busy").read_bytes() == file.read_bytes()


def test_a_small_file_that_becomes_large_meanwhile_is_whole(
    site: BackupSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = site.tree / "busy"
    file.write_bytes(b"small")
    with during_each_reading(monkeypatch, lambda call: call == 1 and file.write_bytes(os.urandom(5 << 20))):
        made = site.back_up()
    site.restore(made, tmp_path / "to")
    assert (tmp_path / "to" / "ipfs" / "busy").read_bytes() == file.read_bytes()


def test_a_change_within_one_tick_of_the_clock_is_found_by_the_next_run(site: BackupSite, tmp_path: Path) -> None:
    """Written right after its reading, with the same size, and times set back as far as a program can."""
    file = site.tree / "file"
    file.write_bytes(b"first")
    times = file.stat()
    site.back_up()
    file.write_bytes(b"again")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    site.restore(site.back_up("incremental"), tmp_path / "to")
    assert (tmp_path / "to" / "ipfs" / "file").read_bytes() == b"again"


def test_a_file_that_vanishes_is_left_out_and_counted(site: BackupSite, tmp_path: Path) -> None:
    (site.tree / "stays").write_bytes(b"stays")
    (site.tree / "goes").write_bytes(b"goes")
    made = with_change_after_plan(site, (site.tree / "goes").unlink)
    assert (made.outcome, notes(made)) == (Outcome.OK, {"vanished": 1})
    site.restore(made, tmp_path / "to")
    assert os.listdir(tmp_path / "to" / "ipfs") == ["stays"]


def test_a_folder_that_vanishes_does_not_take_its_neighbours_along(site: BackupSite, tmp_path: Path) -> None:
    """The way from `a` to `a/b/gone` ends in `a/b`: what comes next must be looked for in `a`."""
    (site.tree / "a" / "b" / "gone").mkdir(parents=True)
    (site.tree / "a" / "b" / "gone" / "f").write_bytes(b"gone")
    (site.tree / "a" / "a").write_bytes(b"before it")
    (site.tree / "a" / "z").write_bytes(b"the right z")

    def change() -> None:
        (site.tree / "a" / "b" / "gone" / "f").unlink()
        (site.tree / "a" / "b" / "gone").rmdir()

    made = with_change_after_plan(site, change)
    assert notes(made) == {"vanished": 1}
    site.restore(made, tmp_path / "to")
    assert (tmp_path / "to" / "ipfs" / "a" / "z").read_bytes() == b"the right z"


def test_a_file_that_became_a_link_is_not_followed(site: BackupSite, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"not ours")
    (site.tree / "file").write_bytes(b"ours")

    def change() -> None:
        (site.tree / "file").unlink()
        (site.tree / "file").symlink_to(tmp_path / "secret")

    made = with_change_after_plan(site, change)
    assert notes(made) == {"vanished": 1}
    site.restore(made, tmp_path / "to")
    assert os.listdir(tmp_path / "to" / "ipfs") == []


def test_a_hard_link_whose_first_path_goes_or_changes_keeps_its_content(site: BackupSite, tmp_path: Path) -> None:
    for name in ("gone", "replaced"):
        (site.tree / f"{name}-1").write_bytes(name.encode())
        os.link(site.tree / f"{name}-1", site.tree / f"{name}-2")

    def change() -> None:
        (site.tree / "gone-1").unlink()
        (site.tree / "new").write_bytes(b"another file under the name")
        (site.tree / "new").rename(site.tree / "replaced-1")

    made = with_change_after_plan(site, change)
    assert (made.outcome, notes(made)) == (Outcome.OK, {"vanished": 1})
    site.restore(made, tmp_path / "to")
    contents = {path.name: path.read_bytes() for path in (tmp_path / "to" / "ipfs").iterdir()}
    assert contents == {
        "gone-2": b"gone",
        "replaced-1": b"another file under the name",
        "replaced-2": b"replaced",
    }


def test_a_hard_link_whose_first_path_vanishes_after_it_was_looked_at_makes_the_backup_partial(
    site: BackupSite, tmp_path: Path
) -> None:
    """Shards may run in any order: the link's before that of its first path."""
    site.shard_bytes = 100
    (site.tree / "1").write_bytes(bytes(200))
    (site.tree / "2").write_bytes(bytes(200))
    os.link(site.tree / "1", site.tree / "3")
    workshop = site.workshop()
    plan = prepare(workshop, site.request())
    assert isinstance(plan, BackupPlan)
    for shard in reversed(plan.shards):
        archive_shard(workshop, plan, shard.archive)
        if shard.archive != plan.shards[0].archive:
            (site.tree / "1").unlink(missing_ok=True)
    made = commit(workshop, plan)
    assert (made.outcome, notes(made)) == (Outcome.PARTIAL, {"vanished": 1, "unreadable": 1})
    assert made.component("ipfs").counts.entries == 2
    site.restore(made, tmp_path / "to")
    assert os.listdir(tmp_path / "to" / "ipfs") == ["2"]


def test_a_link_that_vanishes_during_the_walk_is_left_out(
    site: BackupSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (site.tree / "link").symlink_to("target")

    class Seam:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def readlink(self, name: bytes, *, dir_fd: int) -> bytes:
            os.unlink(name, dir_fd=dir_fd)
            return os.readlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(scan, "os", Seam())
    made = site.back_up()
    monkeypatch.undo()
    assert notes(made) == {"vanished": 1}
    site.restore(made, tmp_path / "to")
    assert os.listdir(tmp_path / "to" / "ipfs") == []


@pytest.mark.parametrize("size", [1000, 9 << 20])
def test_a_disk_error_in_the_middle_of_a_file_costs_that_file_alone(
    site: BackupSite, size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("a", "bad", "z"):
        (site.tree / name).write_bytes(name.encode() * size)
    inode = (site.tree / "bad").stat().st_ino
    real, calls = os.read, 0

    class Seam:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def read(self, fd: int, count: int) -> bytes:
            nonlocal calls
            calls += os.fstat(fd).st_ino == inode
            if os.fstat(fd).st_ino == inode and (calls == 2 or size < 1 << 20):
                raise OSError(5, "Input/output error")
            return real(fd, count)

    with monkeypatch.context() as patch:
        patch.setattr(mounted, "os", Seam())
        made = site.back_up()
    assert (made.outcome, notes(made)) == (Outcome.PARTIAL, {"unreadable": 1})
    site.restore(made, tmp_path / "to")
    for name in ("a", "z"):
        assert (tmp_path / "to" / "ipfs" / name).read_bytes() == (site.tree / name).read_bytes()
    assert not (tmp_path / "to" / "ipfs" / "bad").exists()


class Refusing:
    """`os` in a module, where opening paths of one name fails as it does for one who may not."""

    def __init__(self, name: bytes, error: OSError) -> None:
        self._name, self._error = name, error

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def open(self, name: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == self._name:
            raise self._error
        return os.open(name, flags, mode, dir_fd=dir_fd)


def test_a_file_that_cannot_be_read_makes_the_backup_partial(
    site: BackupSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("a", "shut", "z"):
        (site.tree / name).write_bytes(name.encode())
    monkeypatch.setattr(mounted, "os", Refusing(b"shut", PermissionError(13, "Permission denied")))
    made = site.back_up()
    monkeypatch.undo()
    assert (made.outcome, notes(made)) == (Outcome.PARTIAL, {"unreadable": 1})
    # What nothing is known of is left as it is.
    (tmp_path / "to" / "ipfs").mkdir(parents=True)
    (tmp_path / "to" / "ipfs" / "shut").write_bytes(b"what the target has there")
    site.restore(made, tmp_path / "to")
    assert {path.name for path in (tmp_path / "to" / "ipfs").iterdir()} == {"a", "shut", "z"}
    assert site.back_up("incremental").parent is None


@pytest.mark.skipif(not IS_ROOT, reason="gives up root to meet what it may not read")
def test_a_folder_that_cannot_be_read_makes_the_backup_partial_and_a_whole_component_an_error(
    public_site: BackupSite,
) -> None:
    site = public_site
    (site.tree / "shut").mkdir()
    (site.tree / "shut" / "inside").write_bytes(b"")
    (site.tree / "shut").chmod(0o000)
    site.objects.mkdir()
    site.objects.chmod(0o777)

    def partial() -> None:
        become_nobody()
        made = site.back_up(run="run-1")
        assert (made.outcome, notes(made)) == (Outcome.PARTIAL, {"unreadable": 1})

    def refused() -> None:
        become_nobody()
        with pytest.raises(SourceError, match="cannot be walked: Permission denied"):
            site.back_up(run="run-2")

    assert in_child(partial) == 0
    site.tree.chmod(0o000)
    assert in_child(refused) == 0


def test_a_component_that_is_missing_or_a_link_is_an_error_and_no_empty_backup(
    site: BackupSite, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    site.tree.rmdir()
    with pytest.raises(SourceError, match="is the messenger's volume mounted"):
        site.back_up()
    site.tree.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(SourceError, match="must be a folder"):
        site.back_up()
    site.tree.unlink()
    site.tree.write_bytes(b"")
    with pytest.raises(SourceError, match="must be a folder"):
        site.back_up()
    assert site.repository.names() == []
