"""Copies in a second store: whole, resumed, verified; and local copies beneath real backups."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator

import pytest
from trees import seen

from g3zkp_maint.backup.copying import CopySite, copy_backup
from g3zkp_maint.backup.manifest import FILE_NAME, Manifest
from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.unpack import Unpacker
from g3zkp_maint.backup.verify import VerifyMode, needed, verify
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import ArchiveCorrupt, ManifestInvalid, StoreUnavailable
from g3zkp_maint.stores.base import Chunk, Stored
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.stores.staged import StagedStore
from g3zkp_maint.testing.backup_site import BackupSite


class Failing(DirectoryStore):
    """Fails at the `left`-th put from now."""

    left = 1_000_000

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        self.left -= 1
        if not self.left:
            raise StoreUnavailable("away")
        return super().put(key, chunks, if_absent=if_absent)


@pytest.fixture
def backups(site: BackupSite) -> tuple[Manifest, Manifest]:
    for number in range(3):
        (site.tree / f"file-{number}").write_bytes(os.urandom(700_000))
    full = site.back_up()
    (site.tree / "new").write_bytes(os.urandom(1000))
    return full, site.back_up("incremental")


def second(site: BackupSite, store: DirectoryStore | None = None) -> Repository:
    return Repository(store or DirectoryStore(site.base / "second"), site.keyring, "other/prefix")


def copy_to(site: BackupSite, target: Repository, name: str) -> tuple[int, int]:
    found = copy_backup(CopySite(site.repository, target, Unguarded()), name)
    return found.objects, found.already


def restored(site: BackupSite, target: Repository, manifest: Manifest) -> dict[str, object]:
    to = site.base / f"restored-{os.urandom(4).hex()}"
    Unpacker(target, MountedTarget(to), Unguarded()).unpack(manifest, "ipfs")
    return seen(to / "ipfs")


def test_a_copied_incremental_restores_from_the_second_store_alone(
    site: BackupSite, backups: tuple[Manifest, Manifest]
) -> None:
    full, incremental = backups
    target = second(site)
    objects, already = copy_to(site, target, incremental.name)
    assert (objects, already) == (len(list(needed(incremental))), 0)
    assert [str(name) for name in target.names()] == [incremental.name]
    before = seen(site.tree)
    for path in site.objects.rglob("*.age"):
        path.unlink()
    assert verify(target, target.manifest(incremental.name), VerifyMode.FULL).is_whole
    assert restored(site, target, incremental) == before
    assert full.name not in [str(name) for name in target.names()]


def test_a_second_copy_writes_nothing_and_the_next_backup_only_what_is_new(
    site: BackupSite, backups: tuple[Manifest, Manifest]
) -> None:
    full, incremental = backups
    target = second(site)
    copy_to(site, target, full.name)
    assert copy_to(site, target, full.name) == (0, len(list(needed(full))))
    objects, already = copy_to(site, target, incremental.name)
    before = {one.key for one in needed(full)}
    assert already == sum(one.key in before for one in needed(incremental)) > 0
    assert objects == len(list(needed(incremental))) - already


def test_a_copy_cut_off_at_any_object_has_no_manifest_and_goes_on_with_what_lacks(
    site: BackupSite, backups: tuple[Manifest, Manifest]
) -> None:
    name, count = backups[1].name, len(list(needed(backups[1])))
    for number in range(1, count + 2):
        store = Failing(site.base / f"second-{number}")
        store.left = number
        with pytest.raises(StoreUnavailable):
            copy_to(site, second(site, store), name)
        assert second(site, store).names() == []
        assert copy_to(site, second(site, store), name) == (count - number + 1, number - 1)
        assert verify(second(site, store), backups[1], VerifyMode.FULL).is_whole


COPY = """
import os, sys
from pathlib import Path
from g3zkp_maint.stores.directory import DirectoryStore
source, target, key = DirectoryStore(Path(sys.argv[1])), DirectoryStore(Path(sys.argv[2])), sys.argv[3]
def chunks():
    for piece in source.get(key):
        yield piece
        print("copying", flush=True)
        sys.stdin.read()
target.put("other/prefix/" + key, chunks(), if_absent=True)
"""


@pytest.mark.integration
def test_a_copy_killed_in_the_middle_of_an_object_goes_on(site: BackupSite, backups: tuple[Manifest, Manifest]) -> None:
    key = backups[0].archives[0].key
    argv = [sys.executable, "-c", COPY, str(site.objects), str(site.base / "second"), key]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"copying\n"
        killed.send_signal(signal.SIGKILL)
    target = second(site)
    assert copy_to(site, target, backups[0].name) == (len(list(needed(backups[0]))), 0)
    assert verify(target, backups[0], VerifyMode.FULL).is_whole


def test_a_damaged_object_is_not_copied_and_named(site: BackupSite, backups: tuple[Manifest, Manifest]) -> None:
    archive = backups[0].archives[-1]
    path = site.objects / archive.key
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ArchiveCorrupt, match=archive.key):
        copy_to(site, second(site), backups[0].name)
    assert archive.key not in [second(site).below(info.key) for info in second(site).store.list("")]
    assert second(site).names() == []


def test_what_the_second_store_spoils_while_it_writes_is_found_at_once(
    site: BackupSite, backups: tuple[Manifest, Manifest]
) -> None:
    class Spoiling(DirectoryStore):
        def get(self, key: str, range: tuple[int, int] | None = None) -> Iterator[bytes]:
            for piece in super().get(key, range):
                yield bytes([piece[0] ^ 1]) + piece[1:]

    with pytest.raises(ArchiveCorrupt):
        copy_to(site, second(site, Spoiling(site.base / "second")), backups[0].name)
    assert second(site).names() == []


def test_another_object_or_manifest_of_that_name_in_the_second_store_is_refused(
    site: BackupSite, backups: tuple[Manifest, Manifest]
) -> None:
    full, target = backups[0], second(site)
    target.store.put(target.full_key(full.archives[0].key), [b"another"])
    with pytest.raises(ArchiveCorrupt, match="another"):
        copy_to(site, target, full.name)
    target = second(site, DirectoryStore(site.base / "third"))
    target.store.put(target.full_key(f"{full.folder}/{FILE_NAME}"), [b"{}"])
    with pytest.raises(ManifestInvalid, match="another manifest"):
        copy_to(site, target, full.name)


# -- local copies ------------------------------------------------------------------------------------------------------


def test_backups_through_local_copies_restore_where_those_are_damaged_or_gone(site: BackupSite) -> None:
    staging = site.base / "staging"
    site.store = StagedStore(DirectoryStore(site.objects), staging, keep_days=7, clock=SystemClock())
    for number in range(6):
        (site.tree / f"file-{number}").write_bytes(os.urandom(700_000))
    made = site.back_up()
    copies = [path for path in staging.rglob("*") if path.is_file() and ".tar.zst.age." in path.name]
    assert len(copies) == len(made.archives) > 2
    before = seen(site.tree)
    damaged = bytearray(copies[0].read_bytes())
    damaged[1000] ^= 1
    copies[0].write_bytes(damaged)
    copies[1].unlink()
    assert restored(site, site.repository, made) == before
    # And what is whole is what is read: the store's own object may be damaged for all we know.
    key = next(archive.key for archive in made.archives if archive.key.rpartition("/")[2] in copies[2].name)
    (site.objects / key).write_bytes(bytes((site.objects / key).stat().st_size))
    assert restored(site, site.repository, made) == before
    primary = dataclasses.replace(site.repository, store=DirectoryStore(site.objects))
    assert [one.key for one in verify(primary, made, VerifyMode.FULL).damaged] == [key]
