"""Killed anywhere, run again: one backup, whole; one restore, equal."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from trees import assert_same, in_child, seen, start_child, status_of

from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.errors import LeaseLost
from g3zkp_maint.stores.base import Chunk, Stored
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.testing.backup_site import BackupSite

pytestmark = pytest.mark.integration

#: The exit status of a child that killed itself where it was told to.
KILLED = 9


class DeadlyStore(DirectoryStore):
    """Ends the process at the n-th put: before it, in the middle of its stream, or when it is done."""

    def __init__(self, root: Path, when: str, number: int) -> None:
        super().__init__(root)
        self._deadly, self._puts = (when, number), itertools.count(1)

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        number = next(self._puts)  # in one step: a list may be put while another one streams
        self._die("before", number)
        stored = super().put(key, self._some(chunks, number), if_absent=if_absent)
        self._die("after", number)
        return stored

    def _some(self, chunks: Iterable[Chunk], number: int) -> Iterator[Chunk]:
        for chunk in chunks:
            yield chunk
            self._die("during", number)

    def _die(self, when: str, number: int) -> None:
        if (when, number) == self._deadly:
            os._exit(KILLED)


def fill(site: BackupSite) -> None:
    for number in range(4):
        (site.tree / f"file-{number}").write_bytes(os.urandom(700_000))
    os.link(site.tree / "file-0", site.tree / "hard")
    (site.tree / "link").symlink_to("file-1")


def assert_whole(site: BackupSite, manifest: Manifest, to: Path) -> None:
    assert [str(name) for name in site.repository.names()][-1:] == [manifest.name]
    assert verify(site.repository, manifest, VerifyMode.FULL).is_whole
    site.restore(manifest, to)
    assert_same(site.tree, to / "ipfs")


def crash_and_run_again(base: Path, when: str, number: int, prepare: Callable[[BackupSite], str]) -> bool:
    """Whether the child was killed; if so the run is repeated, and its backup checked."""
    site = BackupSite(base)
    fill(site)
    kind = prepare(site)
    before = len(site.repository.names())

    def work() -> None:
        site.store = DeadlyStore(site.objects, when, number)
        site.back_up(kind, "run-5")

    status = in_child(work)
    assert status in {0, KILLED}, f"{when} put {number}"
    made = site.back_up(kind, "run-5")
    assert len(site.repository.names()) == before + 1
    assert_whole(site, made, base / "to")
    assert_only_leftovers(site, made)
    assert site.back_up(kind, "run-5") == made
    return status == KILLED


def assert_only_leftovers(site: BackupSite, made: Manifest) -> None:
    """What no manifest names is of a dead attempt: under work/, a temporary file, or a numbered second try's first."""
    named = {archive.key for archive in made.archives}
    named |= {component.index.key for component in made.components if component.index is not None}
    assert named <= {info.key for info in site.store.list("")}
    folder = [info.key for info in site.store.list(f"{made.folder}/")]
    left = [key for key in folder if key not in named and not key.endswith("/MANIFEST.json")]
    retried = {key.rpartition("/")[2].partition("-r")[0] for key in named if "-r" in key}
    assert all(
        "/work/" in key or key.rpartition("/")[2].partition(".tar")[0].partition(".index")[0] in retried for key in left
    )


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_full_backup_killed_at_any_put_is_completed_by_the_next_attempt(tmp_path: Path, when: str) -> None:
    number = 1
    while crash_and_run_again(tmp_path / str(number), when, number, lambda site: "full"):
        number += 1
    assert number > 12  # order, lists, plan; archive, rows and marker of each shard; index, manifest


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_incremental_killed_at_any_put_is_completed_by_the_next_attempt(tmp_path: Path, when: str) -> None:
    def changed(site: BackupSite) -> str:
        site.back_up()
        (site.tree / "file-1").write_bytes(os.urandom(800_000))
        (site.tree / "file-2").rename(site.tree / "renamed")
        (site.tree / "file-3").unlink()
        return "incremental"

    number = 1
    while crash_and_run_again(tmp_path / str(number), when, number, changed):
        number += 1
    # Two shards where files were written in the second in which the full one looked at them; on a slow machine, one.
    assert number > 8


def test_a_second_attempt_stores_only_what_the_first_did_not(site: BackupSite) -> None:
    fill(site)
    count = 8  # in the middle of the shards

    def work() -> None:
        site.store = DeadlyStore(site.objects, "after", count)
        site.back_up(run="run-1")

    assert in_child(work) == KILLED
    done = {info.key: info.modified for info in site.store.list("") if info.key.endswith(".tar.zst.age")}
    counting = CountingStore(site.objects)
    site.store = counting
    made = site.back_up(run="run-1")
    assert done
    assert done.items() <= {info.key: info.modified for info in site.store.list("")}.items()
    assert {archive.key for archive in made.archives} >= set(done)
    assert not set(counting.keys) & set(done)


class CountingStore(DirectoryStore):
    """Writes down what is put."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.keys: list[str] = []

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        self.keys.append(key)
        return super().put(key, chunks, if_absent=if_absent)


def test_two_processes_at_the_same_run_make_one_backup_and_both_name_it(tmp_path: Path) -> None:
    for attempt in range(8):
        site = BackupSite(tmp_path / str(attempt))
        fill(site)
        reader, writer = os.pipe()

        def work(site: BackupSite = site, writer: int = writer) -> None:
            os.write(writer, site.back_up(run="run-1").name.encode() + b"\n")

        children = [start_child(work) for _ in range(2)]
        assert [status_of(child) for child in children] == [0, 0]
        os.close(writer)
        with open(reader) as file:
            said = file.read().split()
        assert len(said) == 2
        assert said == [str(name) for name in site.repository.names()] * 2
        assert_whole(site, site.repository.manifest(said[0]), site.base / "to")


class OvertakenStore(DirectoryStore):
    """Before the first get of an object of this sort, `other` does all of the work."""

    def __init__(self, root: Path, sort: str, other: Callable[[], object]) -> None:
        super().__init__(root)
        self._sort, self._other = sort, [other]

    def get(self, key: str, range: tuple[int, int] | None = None) -> Iterator[bytes]:
        if self._sort in key and self._other:
            self._other.pop()()
        return super().get(key, range)


@pytest.mark.parametrize("sort", [".list.", ".done.json", ".order.", ".rows."])
def test_an_attempt_overtaken_by_another_returns_what_that_one_made(site: BackupSite, sort: str) -> None:
    """What it was still reading was swept when the other one was done."""
    fill(site)
    site.back_up()
    site.request()
    ours, made = site.store, []
    other = BackupSite(site.base, keyring=site.keyring)
    site.store = OvertakenStore(site.objects, sort, lambda: made.append(other.back_up(run="run-3")))
    mine = site.back_up(run="run-3")
    site.store = ours
    assert made == [mine]
    assert len(site.repository.names()) == 2


def test_two_other_runs_in_the_same_second_make_two_backups(site: BackupSite) -> None:
    (site.tree / "file").write_bytes(b"content")
    first, second = site.request(run="a-1"), site.request(run="b-1")
    assert first.at == second.at
    names = [site.back_up(run="a-1").name, site.back_up(run="b-1").name]
    assert names == [str(name) for name in site.repository.names()]
    assert len(set(names)) == 2
    assert [site.back_up(run="a-1").name, site.back_up(run="b-1").name] == names


# -- restores ----------------------------------------------------------------------------------------------------------


class DeadlyGuard:
    """Ends the process, or loses the lease, when it has been asked `number` times."""

    token = 1

    def __init__(self, number: int, *, is_lost: bool = False) -> None:
        self._left, self._is_lost = number, is_lost

    def ensure_held(self) -> None:
        self._left -= 1
        if self._left > 0:
            return
        if self._is_lost:
            raise LeaseLost("the lease was lost")
        os._exit(KILLED)

    verify = ensure_held


def two_states(site: BackupSite) -> tuple[Manifest, Manifest]:
    """A backup of a tree, and one of quite another tree in its place."""
    (site.tree / "folder" / "below").mkdir(parents=True)
    for name in ("folder/a", "folder/below/b", "same", "type-1"):
        (site.tree / name).write_bytes(name.encode() * 1000)
    (site.tree / "large").write_bytes(os.urandom(3 << 20))
    (site.tree / "type-2").mkdir()
    (site.tree / "type-2" / "inside").write_bytes(b"inside")
    (site.tree / "link").symlink_to("same")
    os.link(site.tree / "same", site.tree / "twin")
    first = site.back_up()
    for path in ("folder", "type-2"):
        subprocess.run(["rm", "-r", site.tree / path], check=True)
    for path in ("type-1", "link", "twin"):
        (site.tree / path).unlink()
    (site.tree / "type-1").mkdir()
    (site.tree / "type-1" / "new").write_bytes(b"new")
    (site.tree / "type-2").write_bytes(b"a file now")
    (site.tree / "link").mkdir()
    (site.tree / "large").write_bytes(os.urandom(2 << 20))
    return first, site.back_up("incremental")


def test_a_restore_killed_at_any_step_is_completed_by_the_next_attempt(site: BackupSite, tmp_path: Path) -> None:
    first, second = two_states(site)
    site.restore(second, tmp_path / "second")
    site.restore(first, tmp_path / "first")
    targets = {"first": first, "second": second}
    kills = 0
    for name, other in (("first", second), ("second", first)):
        number, status = 0, KILLED
        while status == KILLED:
            number += 1
            to = tmp_path / f"{name}-{number}"
            site.restore(other, to)
            status = in_child(
                lambda number=number, to=to, name=name: site.restore(targets[name], to, guard=DeadlyGuard(number))
            )
            assert status in {0, KILLED}, f"the restore of the {name} at step {number}"
            site.restore(targets[name], to)
            assert_same(tmp_path / name / "ipfs", to / "ipfs")
            kills += status == KILLED
    assert kills > 20


def test_a_restore_whose_lease_is_lost_stops_there_and_touches_nothing_more(site: BackupSite, tmp_path: Path) -> None:
    first, second = two_states(site)
    to = tmp_path / "to"
    site.restore(second, to)
    before = seen(to)
    with pytest.raises(LeaseLost):
        site.restore(first, to, guard=DeadlyGuard(1, is_lost=True))
    assert seen(to) == before
    for number in (2, 5, 9):
        with pytest.raises(LeaseLost):
            site.restore(first, to, guard=DeadlyGuard(number, is_lost=True))
    site.restore(first, to)
    site.restore(first, tmp_path / "fresh")
    assert_same(tmp_path / "fresh" / "ipfs", to / "ipfs")


def test_a_file_that_was_begun_gets_no_metadata_once_the_lease_is_lost(site: BackupSite, tmp_path: Path) -> None:
    (site.tree / "only").write_bytes(b"content")
    os.utime(site.tree / "only", ns=(10**18, 10**18))
    made = site.back_up()
    written = []
    for number in range(1, 20):
        to = tmp_path / str(number)
        try:
            site.restore(made, to, guard=DeadlyGuard(number, is_lost=True))
        except LeaseLost:
            found = to / "ipfs" / "only"
            if found.exists():
                written.append(found.stat().st_mtime_ns)
        else:
            break
    # Whole, and its lease lost before its metadata: that moment must be among them.
    assert written
    assert written[0] != 10**18
