"""One flipped bit, anywhere in the store, is found and named: by a verify, and by the re-reading."""

from __future__ import annotations

import dataclasses
import os
import random
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from g3zkp_maint.backup import ledger as ledgers
from g3zkp_maint.backup.copying import CopySite, copy_backup
from g3zkp_maint.backup.evidence import Check, Evidence, keep
from g3zkp_maint.backup.ledger import Ledger, Mark
from g3zkp_maint.backup.manifest import FILE_NAME, Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.reread import Reread, RereadSite, require_whole, reread
from g3zkp_maint.backup.touched import touched
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.checkpoint import MemoryCheckpoint
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import ArchiveCorrupt, ManifestInvalid
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.testing.backup_site import BackupSite, of_backup_fleet

FLIPS_EACH = 6


@pytest.fixture
def backups(site: BackupSite) -> list[Manifest]:
    (site.tree / "folder").mkdir()
    for number in range(6):
        (site.tree / "folder" / f"file-{number}").write_bytes(os.urandom(400_000))
    made = [site.back_up()]
    (site.tree / "new").write_bytes(b"new" * 1000)
    return [*made, site.back_up("incremental")]


def fleet(site: BackupSite) -> Repository:
    """As the backup fleet has it: without what opens archives."""
    return Repository(site.store, of_backup_fleet(site.keyring))


class Later(SystemClock):
    """So many days from now."""

    def __init__(self, days: int) -> None:
        self._days = timedelta(days=days)

    def now(self) -> datetime:
        return super().now() + self._days


def read_again(
    site: BackupSite, checkpoint: MemoryCheckpoint | None = None, *, days: int = 1, later: int = 0
) -> Reread:
    return reread(RereadSite(fleet(site), Later(later), Unguarded(), checkpoint or MemoryCheckpoint(), days))


def flipped(path: Path, chance: random.Random) -> bytes:
    """Flips one bit; returns what was there."""
    before = path.read_bytes()
    raw = bytearray(before)
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    path.write_bytes(raw)
    return before


def expected_files(site: BackupSite, manifest: Manifest, key: str) -> set[str]:
    (archive,) = [one for one in manifest.archives if one.key == key]
    rows = fleet(site).rows(manifest, archive.component)
    return {row.path for row in rows if row.archive == archive.id}


def test_one_bit_anywhere_in_any_object_is_found_and_named(site: BackupSite, backups: list[Manifest]) -> None:
    chance = random.Random(4)
    newest = backups[-1]
    paths = sorted(path for path in site.objects.rglob("*") if path.is_file())
    assert len(paths) == len(newest.archives) + 2 * len(backups)
    assert not read_again(site).problems
    for path in paths:
        key = path.relative_to(site.objects).as_posix()
        for _ in range(FLIPS_EACH):
            before = flipped(path, chance)
            if path.name == FILE_NAME:
                name = path.parent.name
                with pytest.raises(ManifestInvalid, match=name):
                    fleet(site).manifest(name)
                assert any(name in problem for problem in read_again(site).problems)
            else:
                _is_named(site, backups, key)
            path.write_bytes(before)
    assert not read_again(site).problems


def test_one_bit_in_any_object_of_the_copies_is_found_there_and_the_store_itself_is_whole(
    site: BackupSite, backups: list[Manifest]
) -> None:
    target = dataclasses.replace(fleet(site), store=DirectoryStore(site.base / "second"), prefix="copies")
    for one in backups:
        copy_backup(CopySite(fleet(site), target, Unguarded()), one.name)
    chance = random.Random(5)

    def read_copies() -> Reread:
        return reread(RereadSite(target, Later(0), Unguarded(), MemoryCheckpoint(), 1))

    assert not read_copies().problems
    paths = sorted(path for path in (site.base / "second").rglob("*") if path.is_file())
    assert len(paths) == len([path for path in site.objects.rglob("*") if path.is_file()])
    for path in paths:
        before = flipped(path, chance)
        key = path.relative_to(site.base / "second" / "copies").as_posix()
        named = path.parent.name if path.name == FILE_NAME else key
        with pytest.raises(ArchiveCorrupt, match=f"the second store is damaged.*{named}"):
            require_whole(read_copies(), second=True)
        path.write_bytes(before)
    assert not read_again(site).problems


def _is_named(site: BackupSite, backups: list[Manifest], key: str) -> None:
    found = read_again(site)
    assert [one for one in found.problems if key in one]
    with pytest.raises(ArchiveCorrupt, match=key):
        require_whole(found)
    needing = [one for one in backups if key in {part.key for part in one.archives} or key.startswith(one.folder)]
    for manifest in needing:
        verified = verify(fleet(site), manifest, VerifyMode.FULL)
        if ".index" in key or key not in {one.key for one in manifest.archives}:
            continue
        assert [one.key for one in verified.damaged] == [key]
        (lost,) = touched(fleet(site), manifest, verified.damaged)
        assert set(lost.paths) == expected_files(site, manifest, key)
        assert lost.files == len(lost.paths)
        # An incremental looks at young files once more, and may store an archive of which nothing is needed.
        assert lost.files or manifest.type == "incremental"
    assert found.touched


def test_one_bit_of_prunes_ledger_or_of_a_drills_evidence_is_found_and_named(
    site: BackupSite, backups: list[Manifest]
) -> None:
    chance = random.Random(8)
    name, at = backups[0].name, backups[0].sealed_at
    ledger = Ledger(number=7, written_at=at, marked={name: Mark(sha256="0" * 64, marked_at=at)})
    ledgers.write(site.repository, ledger)
    drill = Evidence(
        product="g3zkp",
        backup=name,
        manifest_sha256="0" * 64,
        run="a-drill",
        drilled_at=at,
        outcome="ok",
        recovery_ms=1,
        recovery_point_seconds=1,
        entries=1,
        bytes=1,
        checks=(Check(name="files:ipfs", passed=True),),
    )
    evidence = keep(site.repository, drill)
    assert not read_again(site).problems
    for key, named in ((ledgers.key_of(ledger), "the prune ledger 7"), (evidence, evidence)):
        for _ in range(FLIPS_EACH):
            before = flipped(site.objects / key, chance)
            (problem,) = read_again(site).problems
            assert named in problem
            (site.objects / key).write_bytes(before)
    assert not read_again(site).problems


def test_a_damaged_index_is_told_as_the_list_of_all_files(site: BackupSite, backups: list[Manifest]) -> None:
    index = backups[0].component("ipfs").index
    assert index is not None
    flipped(site.objects / index.key, random.Random(1))
    verified = verify(fleet(site), backups[0], VerifyMode.FULL)
    (lost,) = touched(fleet(site), backups[0], verified.damaged)
    assert (lost.key, lost.files) == (index.key, index.rows)
    assert "the list of them itself" in str(lost)


def test_an_archive_that_is_missing_or_short_is_found_every_day_without_reading(
    site: BackupSite, backups: list[Manifest]
) -> None:
    short, gone = (backups[0].archives[number].key for number in (0, 1))
    os.truncate(site.objects / short, 10)
    (site.objects / gone).unlink()
    found = read_again(site, days=30)
    assert len(found.problems) == 2
    assert all(backups[1].name in problem and backups[0].name in problem for problem in found.problems)


def test_the_parts_of_each_day_come_to_all_and_a_damaged_one_is_told_until_it_is_gone(
    site: BackupSite, backups: list[Manifest]
) -> None:
    checkpoint = MemoryCheckpoint()
    counts = [read_again(site, checkpoint, days=3, later=day) for day in range(3)]
    assert 0 < counts[0].objects < counts[0].of_objects
    assert len(checkpoint.load()["read"]) == counts[0].of_objects
    key = backups[0].archives[0].key
    flipped(site.objects / key, random.Random(2))
    found = [read_again(site, checkpoint, days=3, later=day) for day in range(3, 9)]
    days = [day for day, one in enumerate(found) if one.problems]
    assert days == list(range(days[0], 6))  # until somebody does something about it
    assert days[0] < 3
    last = found[-1]
    assert "file-" not in str(last.as_dict())  # paths are sealed
    assert any("file-" in path for one in last.touched for path in one.paths)
