"""Prune killed anywhere, stopped, overtaken, cut off, and in front of locks: what is left is whole, the next run goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prune_history import (
    IN_A_DAY,
    NOW,
    History,
    litter,
    make_history,
)
from trees import in_child

from g3zkp_maint.backup.prune import PruneSite, prune
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import (
    LeaseLost,
    StoreError,
    StoreUnavailable,
)
from g3zkp_maint.stores.base import Chunk, Stored
from g3zkp_maint.stores.directory import DirectoryStore

pytestmark = pytest.mark.integration


@pytest.fixture
def history(tmp_path: Path) -> History:
    return make_history(tmp_path)


# -- killed, stopped, locked ---------------------------------------------------------------------------------------------


class _Interrupted:
    """The store, in which something happens before write or deletion number `at`."""

    def __init__(self, store: DirectoryStore, at: int, happen: Callable[[], object]) -> None:
        self._store, self._at, self._happen, self.done = store, at, happen, 0
        self.get, self.list, self.head, self.sweep = store.get, store.list, store.head, store.sweep

    def _count(self) -> None:
        if self.done == self._at:
            self._happen()
        self.done += 1

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        self._count()
        return self._store.put(key, chunks, if_absent=if_absent)

    def delete(self, keys: Iterable[str]) -> int:
        count = 0
        for key in keys:
            self._count()
            count += self._store.delete([key])
        return count


def _interrupted(history: History, at: int, happen: Callable[[], object]) -> tuple[PruneSite, _Interrupted]:
    store = _Interrupted(DirectoryStore(history.site.objects), at, happen)
    site = history.prune_site()
    return replace(site, repository=replace(site.repository, store=store)), store


def _killed(history: History, at: int) -> bool:
    """Runs a prune in a process that dies before that write or deletion; whether it came so far."""
    site, _ = _interrupted(history, at, lambda: os._exit(9))
    status = in_child(lambda: prune(site))
    assert status in {0, 9}, f"at write or deletion {at}"
    return status == 9


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_between_any_two_deletions_every_backup_is_whole_and_the_next_run_finishes(
    history: History, tmp_path: Path
) -> None:
    litter(history, NOW - timedelta(days=9))
    template, scratch = tmp_path / "template", tmp_path / "restored"
    shutil.copytree(history.site.objects, template)
    history.prune()
    history.prune()
    finished = history.objects()
    kills = 0
    while True:
        shutil.rmtree(history.site.objects)
        shutil.copytree(template, history.site.objects)
        if not _killed(history, kills):
            break
        kills += 1
        assert set(history.names[3:]) <= set(history.left())
        history.assert_all_whole(scratch)
        history.assert_chain_holds()
        history.prune()
        assert history.left() == history.names[3:]
        history.assert_all_whole(scratch)
        history.prune()
        assert {key for key in history.objects() if "ledger" not in key} == {
            key for key in finished if "ledger" not in key
        }
        history.assert_chain_holds()
    assert kills > 15


def test_a_prune_that_loses_its_lease_deletes_nothing_more(history: History) -> None:
    class Losing(Unguarded):
        left = 4

        def ensure_held(self) -> None:
            Losing.left -= 1
            if Losing.left < 0:
                raise LeaseLost("taken over")

    before = history.objects()
    with pytest.raises(LeaseLost):
        prune(history.prune_site(guard=Losing()))
    assert len(before - history.objects()) == 3  # and the ledger was the first of the four


def test_of_two_prunes_at_once_one_stops_before_it_deletes(history: History) -> None:
    def other() -> None:
        history.prune(policy=IN_A_DAY)

    site, _ = _interrupted(history, 0, other)
    with pytest.raises(LeaseLost, match="another prune"):
        prune(site)
    assert history.left() == history.names


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_store_that_is_away_stops_the_run_and_the_next_goes_on(history: History, tmp_path: Path, after: int) -> None:
    def away() -> None:
        raise StoreUnavailable("the store is away")

    site, _ = _interrupted(history, after, away)
    with pytest.raises(StoreUnavailable):
        prune(site)
    history.assert_all_whole(tmp_path / "restored")
    history.prune()
    assert history.left() == history.names[3:]


class _Locked(_Interrupted):
    """A store in which the objects that match are under a lock."""

    def __init__(self, store: DirectoryStore, is_locked: Callable[[str], bool]) -> None:
        super().__init__(store, -1, lambda: None)
        self._is_locked = is_locked

    def delete(self, keys: Iterable[str]) -> int:
        found = list(keys)
        for key in found:
            if self._is_locked(key):
                raise StoreError(f"{key} is locked until 2027")
        return super().delete(found)


def _with_locks(history: History, is_locked: Callable[[str], bool]) -> PruneSite:
    site = history.prune_site()
    return replace(site, repository=replace(site.repository, store=_Locked(history.site.store, is_locked)))


def test_a_locked_manifest_keeps_its_backup_and_all_that_it_needs(history: History, tmp_path: Path) -> None:
    done = prune(_with_locks(history, lambda key: key == f"{history.made[2].folder}/MANIFEST.json"))
    assert (done.deleted, done.outcome) == ((), "partial")
    assert "is locked until 2027" in done.locked[0]
    assert history.left() == history.names
    history.assert_all_whole(tmp_path / "restored")
    history.assert_chain_holds()
    assert set(history.prune().deleted) == set(history.names[:3])


def test_a_locked_archive_is_told_and_goes_when_the_lock_is_off(history: History, tmp_path: Path) -> None:
    key = next(archive.key for archive in history.made[0].own_archives())
    locked = _with_locks(history, lambda other: other == key)
    done = prune(locked)
    assert (len(done.deleted), done.outcome, len(done.locked)) == (3, "partial", 1)
    assert prune(locked).locked[0].startswith(key)
    history.assert_all_whole(tmp_path / "restored")
    assert history.prune().objects == 1
    assert key not in history.objects()
    history.assert_chain_holds()


def test_objects_that_are_gone_already_are_no_error(history: History) -> None:
    for path in history.folder(0).glob("ipfs.*"):
        path.unlink()
    assert set(history.prune().deleted) == set(history.names[:3])


def test_a_manifest_that_came_in_between_keeps_what_it_needs(history: History, tmp_path: Path) -> None:
    """A run that was thought dead commits at the worst moment: after the manifests went, before the archives do."""
    raw = (history.folder(2) / "MANIFEST.json").read_bytes()
    site, store = _interrupted(history, -1, lambda: None)
    deleted: list[str] = []

    def delete(keys: Iterable[str]) -> int:
        found = list(keys)
        count = _Interrupted.delete(store, found)
        deleted.extend(key for key in found if key.endswith("MANIFEST.json"))
        if len(deleted) == 3 and not (history.folder(2) / "MANIFEST.json").exists():
            (history.folder(2) / "MANIFEST.json").write_bytes(raw)
        return count

    store.delete = delete  # type: ignore[method-assign]
    prune(site)
    assert history.names[2] in history.left()
    history.assert_all_whole(tmp_path / "restored")
