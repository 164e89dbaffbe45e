"""Local copies of what is stored: taken where they are whole, harmless where they are not."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.errors import ObjectMissing, StoreUnavailable
from g3zkp_maint.stores.base import ObjectInfo
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.stores.staged import StagedStore

KEY, CONTENT = "2026/03/backup/ipfs.000.tar.zst.age", b"content " * 300_000


class Counting(DirectoryStore):
    """Counts reads; may be cut off."""

    reads = 0
    is_away = False

    def get(self, key: str, range: tuple[int, int] | None = None) -> Iterator[bytes]:
        if self.is_away:
            raise StoreUnavailable("away")
        self.reads += 1
        return super().get(key, range)

    def head(self, key: str) -> ObjectInfo:
        if self.is_away:
            raise StoreUnavailable("away")
        return super().head(key)


@pytest.fixture
def primary(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "store")


@pytest.fixture
def store(primary: Counting, tmp_path: Path) -> StagedStore:
    return StagedStore(primary, tmp_path / "staging", keep_days=7, clock=SystemClock())


def copies(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "staging").rglob("*") if path.is_file()]


def read(store: StagedStore, span: tuple[int, int] | None = None) -> bytes:
    return b"".join(store.get(KEY, span))


def test_what_was_put_is_read_from_the_local_copy(store: StagedStore, primary: Counting) -> None:
    store.put(KEY, [CONTENT[:9], CONTENT[9:]], if_absent=True)
    assert read(store) == CONTENT
    assert read(store, (5, 1 << 21)) == CONTENT[5 : 1 << 21]
    assert primary.reads == 0


@pytest.mark.parametrize("damage", ["flipped", "short", "gone", "a folder"])
def test_a_copy_that_is_not_whole_is_left_and_the_store_read(
    store: StagedStore, primary: Counting, tmp_path: Path, damage: str
) -> None:
    store.put(KEY, [CONTENT], if_absent=True)
    (copy,) = copies(tmp_path)
    if damage == "flipped":
        raw = bytearray(CONTENT)
        raw[-1] ^= 1
        copy.write_bytes(raw)
    elif damage == "short":
        os.truncate(copy, 100)
    else:
        copy.unlink()
        if damage == "a folder":
            copy.mkdir()
    assert read(store) == CONTENT
    assert primary.reads == 1


def test_a_copy_cut_short_while_it_is_read_is_gone_on_with_from_the_store(store: StagedStore, tmp_path: Path) -> None:
    store.put(KEY, [CONTENT], if_absent=True)
    pieces = store.get(KEY)
    first = next(pieces)
    os.truncate(copies(tmp_path)[0], 0)
    assert first + b"".join(pieces) == CONTENT


def test_an_object_that_the_store_has_lost_is_missing_whatever_lies_here(store: StagedStore, primary: Counting) -> None:
    store.put(KEY, [CONTENT], if_absent=True)
    primary.delete([KEY])
    with pytest.raises(ObjectMissing):
        read(store)


def test_while_the_store_is_away_whole_copies_are_read_and_nothing_else(store: StagedStore, primary: Counting) -> None:
    store.put(KEY, [CONTENT], if_absent=True)
    primary.put("other", [b"not copied"])
    primary.is_away = True
    assert read(store) == CONTENT
    with pytest.raises(StoreUnavailable):
        list(store.get("other"))


def test_a_delete_takes_the_copy_as_well(store: StagedStore, tmp_path: Path) -> None:
    store.put(KEY, [CONTENT], if_absent=True)
    assert store.delete([KEY]) == 1
    assert copies(tmp_path) == []


def test_what_may_be_replaced_is_not_copied(store: StagedStore, tmp_path: Path) -> None:
    store.put(KEY, [b"one"])
    assert copies(tmp_path) == []


def test_a_local_disk_that_cannot_be_written_costs_no_backup(primary: Counting, tmp_path: Path) -> None:
    (tmp_path / "staging").write_bytes(b"no folder")
    store = StagedStore(primary, tmp_path / "staging", keep_days=7, clock=SystemClock())
    assert store.put(KEY, [CONTENT], if_absent=True).digest == hashlib.sha256(CONTENT).hexdigest()
    assert read(store) == CONTENT
    store.sweep(datetime.now(UTC))
    store.trim()


def test_a_local_disk_that_fails_in_the_middle_costs_no_backup(
    store: StagedStore, primary: Counting, tmp_path: Path
) -> None:
    def chunks() -> Iterator[bytes]:
        yield CONTENT[:100]
        shutil.rmtree(tmp_path / "staging")
        yield CONTENT[100:]

    store.put(KEY, chunks(), if_absent=True)
    assert read(store) == CONTENT
    assert copies(tmp_path) == []


def test_copies_past_their_days_are_swept_and_nothing_else(
    store: StagedStore, primary: Counting, tmp_path: Path
) -> None:
    store.put("2026/02/old", [CONTENT], if_absent=True)
    store.put(KEY, [CONTENT], if_absent=True)
    foreign = tmp_path / "staging" / "2026" / "02" / "somebody's"
    foreign.write_bytes(b"")
    left = tmp_path / "staging" / ".parts" / "0123456789abcdef"
    left.write_bytes(b"of a dead writer")
    week_ago = time.time() - 8 * 86_400
    for path in [*copies(tmp_path), foreign]:
        if "2026/03" not in str(path):
            os.utime(path, (week_ago, week_ago))
    assert store.sweep(datetime.now(UTC) - timedelta(days=2)) == 1
    store.trim()
    assert sorted(path.name.partition(".tar")[0] for path in copies(tmp_path)) == ["ipfs.000", "somebody's"]
    assert b"".join(store.get("2026/02/old")) == CONTENT
    assert primary.reads == 1
