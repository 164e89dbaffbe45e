"""Retention in a second store, of copies: the same policy, marks of its own, and no folder taken that a copy may need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from g3zkp_maint.backup.copying import copy_backup
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.prune import Pruned, PruneSite, prune
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.testing.backup_place import BackupPlace, entered


class _NextWeek(SystemClock):
    """When all that was written now is older than leftovers must be."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=7)


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace.make(tmp_path)


@pytest.fixture
def services(place: BackupPlace, tmp_path: Path) -> Iterator[Services]:
    settings = {
        **place.environment(),
        "G3ZKP_SECOND_STORE__KIND": "directory",
        "G3ZKP_SECOND_STORE__PREFIX": "copies",
        "G3ZKP_SECOND_STORE__DIRECTORY__PATH": str(tmp_path / "second"),
        "G3ZKP_RETENTION__DELETE_AFTER_HOURS": "0",
        "G3ZKP_RETENTION__MAX_SHARE_PER_RUN": "1",
    }
    with entered(settings):
        yield Services(clock=_NextWeek())


def copy(services: Services, *backups: Manifest) -> None:
    for one in backups:
        copy_backup(services.copy_site(Unguarded()), one.name)


def prune_second(services: Services) -> Pruned:
    return prune(services.second_prune_site(Unguarded()))


def prune_first(services: Services) -> Pruned:
    return prune(services.prune_site(Unguarded()))


def copied(services: Services) -> list[str]:
    return [str(name) for name in services.second_repository.names()]


def assert_whole(services: Services) -> None:
    target = services.second_repository
    for name in target.names():
        assert verify(target, target.manifest(str(name)), VerifyMode.FULL).is_whole


def folder_of(tmp_path: Path, backup: Manifest) -> Path:
    return tmp_path / "second" / "copies" / backup.folder


def test_copies_go_by_the_same_policy_and_the_store_itself_is_not_touched(
    place: BackupPlace, services: Services
) -> None:
    made = [place.take(number) for number in range(3)]
    copy(services, *made)
    before = place.tree(place.store)
    done = prune_second(services)
    assert (done.outcome, set(done.deleted)) == ("ok", {one.name for one in made[:2]})
    assert copied(services) == [made[2].name]
    assert_whole(services)
    assert place.tree(place.store) == before
    assert prune_second(services).objects == 0


def test_what_a_copied_incremental_needs_stays_without_a_manifest_and_goes_after_it(
    place: BackupPlace, services: Services, tmp_path: Path
) -> None:
    full = place.take(0)
    place.write("ipfs/new", b"new" * 100)
    incremental = place.take(1, BackupType.INCREMENTAL)
    copy(services, incremental)
    done = prune_second(services)
    assert (done.outcome, done.objects) == ("ok", 0)
    assert_whole(services)

    copy(services, place.take(2))
    assert set(prune_first(services).deleted) == {full.name, incremental.name}
    assert prune_second(services).deleted == (incremental.name,)
    last = prune_second(services)
    assert (last.outcome, last.problems) == ("ok", ())
    assert not list(folder_of(tmp_path, full).rglob("*.age"))
    assert not list(folder_of(tmp_path, incremental).rglob("*.age"))
    assert_whole(services)


def test_a_copy_that_was_not_finished_waits_for_the_rest_while_the_store_has_its_backup(
    place: BackupPlace, services: Services, tmp_path: Path
) -> None:
    begun, later = place.take(0), place.take(1)
    copy(services, begun, later)
    (folder_of(tmp_path, begun) / "MANIFEST.json").unlink()
    objects = sorted(folder_of(tmp_path, begun).iterdir())
    done = prune_second(services)
    assert (done.outcome, done.objects) == ("ok", 0)
    assert sorted(folder_of(tmp_path, begun).iterdir()) == objects
    prune_first(services)
    assert prune_second(services).objects == len(objects)
    assert copied(services) == [later.name]


def test_a_folder_that_neither_store_accounts_for_is_told_and_stays(
    place: BackupPlace, services: Services, tmp_path: Path
) -> None:
    lost, later = place.take(0), place.take(1)
    copy(services, lost, later)
    (folder_of(tmp_path, lost) / "MANIFEST.json").unlink()
    for path in sorted((place.store / lost.folder).iterdir()):
        path.unlink()
    done = prune_second(services)
    assert done.outcome == "partial"
    assert lost.name in done.problems[-1]
    assert list(folder_of(tmp_path, lost).rglob("*.age"))


def test_the_stores_own_prune_does_not_ask_another(place: BackupPlace, services: Services) -> None:
    site = services.prune_site(Unguarded())
    assert isinstance(site, PruneSite)
    assert site.first is None
    assert services.second_prune_site(Unguarded()).first == replace(site.repository)
    place.take(0)
    assert prune_first(services).outcome == "ok"
