"""What is damaged, removed or replaced in the store is seen: by the next backup, by a verify, and before a restore."""

from __future__ import annotations

import itertools
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from trees import seen

from g3zkp_maint.backup import manifest as manifests
from g3zkp_maint.backup.manifest import Index, Manifest, Previous
from g3zkp_maint.backup.restore import RestoreSite, restore
from g3zkp_maint.backup.restore_plan import plan_restore
from g3zkp_maint.backup.row import Row, encode
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.checkpoint import MemoryCheckpoint
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import ArchiveCorrupt, BackupError, ManifestInvalid, RestoreError, UnknownBackup
from g3zkp_maint.settings import Settings
from g3zkp_maint.testing.backup_site import BackupSite, new_keyring


class Step:
    """A step of a journal that nobody reads."""

    bytes = 0

    def note(self, **facts: Any) -> None:
        pass


class Shut:
    """A platform that a restore to a folder must not ask anything."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"the platform was asked for {name}")


def restore_to(site: BackupSite, manifest: Manifest, to: Path) -> object:
    """With all its steps, the check first."""
    place = RestoreSite(
        site.repository,
        Settings(),
        Shut(),  # type: ignore[arg-type]
        SystemClock(),
        Unguarded(),
        MemoryCheckpoint(),
        lambda name: nullcontext(Step()),  # type: ignore[arg-type]
    )
    return restore(place, plan_restore(manifest, to=to), manifest, run="r")


@pytest.fixture
def full(site: BackupSite) -> Manifest:
    for number in range(3):
        (site.tree / f"file-{number}").write_bytes(os.urandom(700_000))
    return site.back_up()


def object_path(site: BackupSite, key: str) -> Path:
    return site.objects / key


def manifest_path(site: BackupSite, manifest: Manifest) -> Path:
    return site.objects / manifest.folder / "MANIFEST.json"


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


def test_the_first_incremental_becomes_a_full_and_says_so(site: BackupSite) -> None:
    (site.tree / "file").write_bytes(b"content")
    made = site.back_up("incremental")
    assert (made.type, made.parent, made.previous) == ("full", None, None)
    assert made.name.startswith("g3zkp_full_")
    assert made.notes == ("there is no valid backup to build on, so this incremental became a full",)


def test_each_manifest_points_to_the_one_before_by_its_digest(site: BackupSite, full: Manifest) -> None:
    chain = [full, site.back_up("incremental"), site.back_up("full"), site.back_up("incremental")]
    for before, after in itertools.pairwise(chain):
        raw = manifest_path(site, before).read_bytes()
        assert after.previous == Previous(name=before.name, sha256=manifests.digest(raw))
    assert [one.parent for one in chain] == [None, full.name, None, chain[2].name]


def test_a_tampered_newest_manifest_is_passed_over_with_a_note(site: BackupSite, full: Manifest) -> None:
    newest = site.back_up("incremental")
    flip(manifest_path(site, newest), 100)
    after = site.back_up("incremental")
    assert after.parent == full.name
    assert after.previous is not None
    assert after.previous.name == full.name
    assert any(f"passed over: the manifest of {newest.name}" in note for note in after.notes)
    with pytest.raises(ManifestInvalid):
        site.repository.manifest(newest.name)


def test_a_removed_newest_manifest_is_no_backup_any_more(site: BackupSite, full: Manifest) -> None:
    newest = site.back_up("incremental")
    manifest_path(site, newest).unlink()
    assert site.back_up("incremental").parent == full.name
    with pytest.raises(UnknownBackup, match="backup list"):
        site.repository.manifest(newest.name)


def test_a_manifest_of_a_stranger_is_nobodys_parent(site: BackupSite, full: Manifest) -> None:
    ours, site.keyring = site.keyring, new_keyring()
    stranger = site.back_up()
    site.keyring = ours
    after = site.back_up("incremental")
    assert after.parent == full.name
    assert any(f"{stranger.name} is signed by" in note for note in after.notes)


@pytest.mark.parametrize("name", ["2026/01/g3zkp_weekly_20260104_020000", "2026/13/g3zkp_full_20261399_020000"])
def test_a_strangers_object_that_looks_like_a_manifest_stops_nothing(
    site: BackupSite, full: Manifest, name: str
) -> None:
    site.store.put(f"{name}/MANIFEST.json", [b"{}"])
    assert [str(found) for found in site.repository.names()] == [full.name]
    assert site.back_up("incremental").parent == full.name


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_an_archive_that_lacks_bytes_is_seen_by_all_before_anything_is_touched(
    site: BackupSite, full: Manifest, damage: str, tmp_path: Path
) -> None:
    archive = full.archives[1]
    path = object_path(site, archive.key)
    path.unlink() if damage == "missing" else os.truncate(path, archive.size - 1)
    quick = verify(site.repository, full, VerifyMode.QUICK)
    assert not quick.is_whole
    assert [archive.key in problem for problem in quick.problems] == [True]
    (tmp_path / "to" / "ipfs").mkdir(parents=True)
    (tmp_path / "to" / "ipfs" / "precious").write_bytes(b"still here")
    before = seen(tmp_path / "to")
    with pytest.raises(RestoreError, match=rf"stopped at step 'check': {archive.key}"):
        restore_to(site, full, tmp_path / "to")
    assert seen(tmp_path / "to") == before
    after = site.back_up("incremental")
    assert (after.type, after.parent) == ("full", None)
    assert any(archive.key in note for note in after.notes)


@pytest.mark.parametrize("place", [0, 0.5, 0.999])
def test_one_flipped_bit_in_an_archive_is_found_by_a_full_verify_and_before_a_restore(
    site: BackupSite, full: Manifest, place: float, tmp_path: Path
) -> None:
    archive = full.archives[-1]
    flip(object_path(site, archive.key), int(archive.size * place))
    assert verify(site.repository, full, VerifyMode.QUICK).is_whole  # sizes alone do not show it
    found = verify(site.repository, full, VerifyMode.FULL)
    assert [archive.key in problem for problem in found.problems] == [True]
    with pytest.raises(RestoreError, match="stopped at step 'check'"):
        restore_to(site, full, tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("place", [0.1, 0.5, 0.999])
def test_one_flipped_bit_in_an_index_makes_it_nobodys_parent(site: BackupSite, full: Manifest, place: float) -> None:
    index = full.components[0].index
    assert index is not None
    flip(object_path(site, index.key), int(index.size * place))
    assert not verify(site.repository, full, VerifyMode.FULL).is_whole
    after = site.back_up("incremental")
    assert (after.type, after.parent) == ("full", None)
    assert any(index.key in note for note in after.notes)


def test_an_incremental_is_verified_with_the_archives_it_points_into(site: BackupSite, full: Manifest) -> None:
    (site.tree / "file-0").unlink()
    after = site.back_up("incremental")
    object_path(site, full.archives[-1].key).unlink()
    problems = verify(site.repository, after, VerifyMode.QUICK).problems
    assert [full.archives[-1].key in problem for problem in problems] == [True]


def test_a_restore_with_keys_that_open_nothing_is_refused_before_anything_is_touched(
    site: BackupSite, full: Manifest, tmp_path: Path
) -> None:
    ours, other = site.keyring, new_keyring()
    site.keyring = type(ours)(signers=ours.signers, recovery_identities=other.recovery_identities)
    with pytest.raises(RestoreError, match="stopped at step 'check'"):
        restore_to(site, full, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_whole_backup_passes_all_the_steps(site: BackupSite, full: Manifest, tmp_path: Path) -> None:
    restore_to(site, full, tmp_path / "to")
    assert seen(tmp_path / "to" / "ipfs") == seen(site.tree)


def test_a_damaged_plan_or_marker_is_an_error_that_names_it(site: BackupSite, full: Manifest) -> None:
    key = f"{site.request(run='run-2').at:%Y/%m}/g3zkp_full_20260105_020000/work/plan.json"
    site.store.put(key, [b'{"product": 7}'])
    with pytest.raises(BackupError, match=rf"{key} is damaged"):
        site.back_up(run="run-2")


# -- an index that is signed, and wicked -------------------------------------------------------------------------------


def forged(site: BackupSite, full: Manifest, **fields: object) -> Manifest:
    """A backup with one more row, made and signed as ours are."""
    index = full.components[0].index
    assert index is not None
    row = Row("ipfs/wicked", "d", 0o755, 0, 0, 0, 0, 0, 0)
    for name, value in fields.items():
        setattr(row, name, value)
    listed = [encode(one) + b"\n" for one in (*site.repository.rows(full, "ipfs"), row)]
    key = f"{full.folder}/forged.index.zst.age"
    sealed = site.repository.put_list(key, listed)
    wicked = Index(key=key, size=sealed.size, sha256=sealed.digest, plain_size=sealed.plain_size, rows=len(listed))
    component = full.components[0].model_copy(update={"index": wicked})
    unsigned = full.model_copy(update={"components": (component,), "signature": None})
    return manifests.load(manifests.signed(unsigned, site.keyring), site.keyring, name=full.name)


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/etc/wicked"},
        {"path": "../wicked"},
        {"path": "ipfs/../../wicked"},
        {"path": "ipfs/.."},
        {"path": "ipfs/."},
        {"path": "ipfs/./a"},
        {"path": "ipfs/a/.."},
        {"path": "keys/wicked"},
        {"path": "ipfs-too/wicked"},
        {"path": ""},
        {"path": r"ipfs/\x2e\x2e/\x2e\x2e/wicked"},
        {"path": r"ipfs\x2f..\x2f..\x2fwicked"},
        {"path": r"ipfs/a\x2f\x2e."},
        {"path": "ipfs/a//b"},
        {"path": r"ipfs/a\x00b"},
        {"path": "ipfs/hard", "kind": "h", "link": "/etc/passwd"},
        {"path": "ipfs/hard", "kind": "h", "link": "ipfs/../../outside"},
        {"path": "ipfs/hard", "kind": "h", "link": r"ipfs/\x2e\x2e/\x2e\x2e/outside"},
        {"path": "ipfs/file", "kind": "f", "archive": 99, "digest": "0" * 64},
        {"path": "ipfs/file", "kind": "f", "archive": -1, "digest": "0" * 64},
    ],
    ids=lambda fields: fields["path"] + fields.get("link", ""),
)
def test_an_index_that_leads_out_is_refused_before_anything_is_touched(
    site: BackupSite, full: Manifest, fields: dict[str, object], tmp_path: Path
) -> None:
    wicked = forged(site, full, **fields)
    (tmp_path / "outside").write_bytes(b"not ours")
    (tmp_path / "to" / "ipfs").mkdir(parents=True)
    (tmp_path / "to" / "ipfs" / "precious").write_bytes(b"still here")
    before = seen(tmp_path)
    with pytest.raises(ManifestInvalid, match="do not restore this backup"):
        site.restore(wicked, tmp_path / "to")
    assert seen(tmp_path) == before


def test_an_index_with_a_wrong_digest_restores_nothing_under_that_name(
    site: BackupSite, full: Manifest, tmp_path: Path
) -> None:
    wicked = forged(site, full, path="ipfs/file", kind="f", archive=0, offset=512, size=100, digest="0" * 64)
    with pytest.raises(ArchiveCorrupt, match="holds other bytes"):
        site.restore(wicked, tmp_path / "to")


# -- a target that is wicked -------------------------------------------------------------------------------------------


def test_a_target_whose_folders_became_links_is_restored_without_following_one(
    site: BackupSite, tmp_path: Path
) -> None:
    for path in ("a/b/c", "d"):
        (site.tree / path).mkdir(parents=True)
        (site.tree / path / "file").write_bytes(b"content")
    (site.tree / "file").write_bytes(b"content")
    made = site.back_up()
    outside = tmp_path / "outside"
    for path in ("b/c", "extra"):
        (outside / path).mkdir(parents=True)
        (outside / path / "file").write_bytes(b"not ours")
    (outside / "file").write_bytes(b"not ours")
    target = tmp_path / "to" / "ipfs"
    target.mkdir(parents=True)
    (target / "a").symlink_to(outside, target_is_directory=True)
    (target / "d").symlink_to(outside / "b" / "c", target_is_directory=True)
    (target / "file").symlink_to(outside / "file")
    (target / "extra").symlink_to(outside / "extra", target_is_directory=True)
    os.link(outside / "file", target / "hard-linked")
    before = {path: one.content for path, one in seen(outside).items()}
    site.restore(made, tmp_path / "to")
    assert {path: one.content for path, one in seen(outside).items()} == before
    assert seen(target) == seen(site.tree)


def test_a_target_that_is_a_link_itself_is_replaced_by_a_folder(site: BackupSite, tmp_path: Path) -> None:
    (site.tree / "file").write_bytes(b"content")
    made = site.back_up()
    (tmp_path / "outside").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "ipfs").symlink_to(tmp_path / "outside", target_is_directory=True)
    site.restore(made, tmp_path / "to")
    assert os.listdir(tmp_path / "outside") == []
    assert seen(tmp_path / "to" / "ipfs") == seen(site.tree)


def test_a_file_that_shares_its_content_with_one_outside_is_replaced_and_not_written_through(
    site: BackupSite, tmp_path: Path
) -> None:
    (site.tree / "file").write_bytes(b"content")
    made = site.back_up()
    (tmp_path / "to" / "ipfs").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"not ours")
    os.link(tmp_path / "outside", tmp_path / "to" / "ipfs" / "file")
    site.restore(made, tmp_path / "to")
    assert (tmp_path / "outside").read_bytes() == b"not ours"
    assert (tmp_path / "to" / "ipfs" / "file").read_bytes() == b"content"
