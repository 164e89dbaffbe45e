"""What a restore has checked is read from a local copy: once over the network, and never from a copy that is not whole."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.errors import ObjectMissing
from g3zkp_maint.stores.base import Fetching, Stored
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.stores.fetched import FetchedStore

KEY, CONTENT = "2026/03/backup/ipfs.000.tar.zst.age", b"content " * 300_000
WANTED = Stored(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Counting(DirectoryStore):
    reads = 0

    def get(self, key: str, range: tuple[int, int] | None = None) -> Iterator[bytes]:
        self.reads += 1
        return super().get(key, range)


@pytest.fixture
def primary(tmp_path: Path) -> Counting:
    store = Counting(tmp_path / "store")
    store.put(KEY, [CONTENT])
    return store


def fetching(primary: Counting, tmp_path: Path, most_bytes: int = 1 << 30) -> FetchedStore:
    """As a process makes it: a new one stands for a restore that goes on after a kill -9."""
    return FetchedStore(primary, tmp_path / "scratch", most_bytes=most_bytes, clock=SystemClock())


@pytest.fixture
def store(primary: Counting, tmp_path: Path) -> FetchedStore:
    return fetching(primary, tmp_path)


def copies(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]


def fetch(store: FetchedStore, wanted: Stored = WANTED) -> str:
    seen: list[int] = []
    digest = store.fetch(KEY, wanted, seen.append)
    assert sum(seen) == len(CONTENT)
    return digest


def read(store: FetchedStore, span: tuple[int, int] | None = None) -> bytes:
    return b"".join(store.get(KEY, span))


def test_what_was_fetched_is_read_from_the_store_once(store: FetchedStore, primary: Counting, tmp_path: Path) -> None:
    assert isinstance(store, Fetching)
    assert fetch(store) == WANTED.digest
    assert read(store) == CONTENT
    assert read(store, (5, 1 << 21)) == CONTENT[5 : 1 << 21]
    assert primary.reads == 1
    (copy,) = copies(tmp_path)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700


def test_what_was_not_fetched_comes_from_the_store(store: FetchedStore, primary: Counting) -> None:
    assert read(store) == CONTENT
    assert primary.reads == 1
    with pytest.raises(ObjectMissing):
        list(store.get("other"))


def test_a_restore_that_was_killed_goes_on_with_its_copies(primary: Counting, tmp_path: Path) -> None:
    fetch(fetching(primary, tmp_path))
    later = fetching(primary, tmp_path)
    assert fetch(later) == WANTED.digest
    assert read(later) == CONTENT
    assert primary.reads == 1


@pytest.mark.parametrize("damage", ["flipped", "short", "gone"])
def test_a_copy_that_is_not_whole_is_left_and_the_store_read(primary: Counting, tmp_path: Path, damage: str) -> None:
    fetch(fetching(primary, tmp_path))
    (copy,) = copies(tmp_path)
    if damage == "flipped":
        copy.write_bytes(b"C" + CONTENT[1:])
    elif damage == "short":
        os.truncate(copy, 100)
    else:
        copy.unlink()
    assert read(fetching(primary, tmp_path)) == CONTENT
    assert primary.reads == 2


def test_an_object_that_is_not_what_it_has_to_be_leaves_no_copy(store: FetchedStore, tmp_path: Path) -> None:
    other = Stored(len(CONTENT), hashlib.sha256(b"other").hexdigest())
    assert fetch(store, other) == WANTED.digest
    assert copies(tmp_path) == []


def test_what_does_not_fit_is_read_from_the_store_again(primary: Counting, tmp_path: Path) -> None:
    store = fetching(primary, tmp_path, most_bytes=len(CONTENT) - 1)
    assert fetch(store) == WANTED.digest
    assert read(store) == CONTENT
    assert (primary.reads, copies(tmp_path)) == (2, [])


def test_two_do_not_fit_where_there_is_room_for_one(primary: Counting, tmp_path: Path) -> None:
    primary.put("second", [CONTENT])
    store = fetching(primary, tmp_path, most_bytes=2 * len(CONTENT) - 1)
    fetch(store)
    assert store.fetch("second", WANTED, lambda _: None) == WANTED.digest
    assert len(copies(tmp_path)) == 1
    store.release(KEY)
    store.fetch("second", WANTED, lambda _: None)
    assert len(copies(tmp_path)) == 1


def test_a_disk_that_is_nearly_full_gets_no_copy(
    store: FetchedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("g3zkp_maint.stores.fetched._SPARE_BYTES", 1 << 62)
    fetch(store)
    assert copies(tmp_path) == []


def test_a_folder_that_others_may_write_gets_no_copy(primary: Counting, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir(mode=0o700)
    (tmp_path / "scratch").chmod(0o777)
    store = fetching(primary, tmp_path)
    assert fetch(store) == WANTED.digest
    assert read(store) == CONTENT
    assert (primary.reads, copies(tmp_path)) == (2, [])


def test_what_was_released_is_gone(store: FetchedStore, primary: Counting, tmp_path: Path) -> None:
    fetch(store)
    store.release(KEY)
    assert copies(tmp_path) == []
    assert read(store) == CONTENT
    assert primary.reads == 2


def test_copies_that_nobody_came_back_for_go_with_the_next_restore(primary: Counting, tmp_path: Path) -> None:
    primary.put("second", [CONTENT])
    fetching(primary, tmp_path).fetch("second", WANTED, lambda _: None)
    (old,) = copies(tmp_path)
    part = tmp_path / "scratch" / ".parts" / ("0" * 16)
    part.touch()
    theirs = tmp_path / "scratch" / "not-ours"
    theirs.touch()
    long_ago = time.time() - 3 * 86400
    for path in (old, part, theirs):
        os.utime(path, (long_ago, long_ago))
    fetch(fetching(primary, tmp_path))
    assert old not in copies(tmp_path)
    assert part not in copies(tmp_path)
    assert theirs in copies(tmp_path)
