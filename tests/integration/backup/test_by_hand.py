"""Nobody needs this product to recover: `age`, `zstd` and `tar` open what it stored."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from trees import make_everything, seen

from g3zkp_maint.backup.manifest import Archive, Index, Manifest
from g3zkp_maint.errors import KeyMaterialError
from g3zkp_maint.testing.backup_site import BackupSite, of_backup_fleet

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _programs(require_program: Callable[[str], str]) -> None:
    for name in ("age", "zstd", "tar"):
        require_program(name)


@pytest.fixture
def key(site: BackupSite, tmp_path: Path) -> Path:
    """The recovery identity, as `age-keygen` writes it."""
    path = tmp_path / "recovery.identity"
    path.write_text(f"# the recovery identity\n{site.keyring.recovery_identities[0]}\n")
    return path


def by_hand(site: BackupSite, stored: Archive | Index, key: Path) -> bytes:
    """What the runbook says: `age -d -i KEY ARCHIVE | zstd -d`."""
    age = subprocess.run(["age", "-d", "-i", key, site.objects / stored.key], capture_output=True, check=True)
    return subprocess.run(["zstd", "-d", "-q"], input=age.stdout, capture_output=True, check=True).stdout


def untar(site: BackupSite, archive: Archive, key: Path, to: Path) -> None:
    to.mkdir(exist_ok=True)
    plain = by_hand(site, archive, key)
    assert len(plain) == archive.plain_size
    subprocess.run(
        ["tar", "-xpf", "-", "-C", to, "--numeric-owner", "--delay-directory-restore"], input=plain, check=True
    )


def told_by_tar(top: Path) -> dict[bytes, tuple[object, ...]]:
    """What a row of tars can say of a tree: times are in whole seconds there, and of a folder that a later one writes
    into they are those of the unpacking."""
    return {
        path: (
            one.kind,
            one.mode,
            one.uid,
            one.gid,
            0 if one.kind == stat.S_IFDIR else one.mtime_ns // 10**9,
            one.content,
            one.twins,
        )
        for path, one in seen(top).items()
        if one.mtime_ns >= 0
    }


def test_the_archives_of_a_full_backup_give_the_whole_tree(site: BackupSite, key: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"")
    make_everything(site.tree, tmp_path / "outside", depth=20, hole=4 << 20)
    made = site.back_up()
    assert len(made.archives) > 2
    for archive in made.archives:
        untar(site, archive, key, tmp_path / "by-hand")
    assert told_by_tar(tmp_path / "by-hand" / "ipfs") == told_by_tar(site.tree)


def test_a_chain_is_restored_by_hand_in_its_order(site: BackupSite, key: Path, tmp_path: Path) -> None:
    for name in ("kept", "changed"):
        (site.tree / name).write_bytes(name.encode())
    site.back_up()
    (site.tree / "changed").write_bytes(b"anew")
    last = site.back_up("incremental")
    for archive in last.archives:
        untar(site, archive, key, tmp_path / "by-hand")
    contents = {path: one.content for path, one in seen(tmp_path / "by-hand" / "ipfs").items()}
    assert contents == {path: one.content for path, one in seen(site.tree).items()}


def test_the_list_of_files_opens_with_the_same_two_programs(site: BackupSite, key: Path, tmp_path: Path) -> None:
    (site.tree / "a name").write_bytes(b"content")
    made = site.back_up()
    index = made.components[0].index
    assert index is not None
    lines = by_hand(site, index, key).splitlines()
    assert [yaml.safe_load(line)[0] for line in lines] == ["ipfs", "ipfs/a name"]
    manifest_key = tmp_path / "manifest.identity"
    manifest_key.write_text(f"{site.keyring.manifest_identity}\n")
    assert by_hand(site, index, manifest_key).splitlines() == lines


def test_what_the_backup_fleet_holds_opens_no_archive(site: BackupSite, tmp_path: Path) -> None:
    (site.tree / "file").write_bytes(b"content")
    made: Manifest = site.back_up()
    manifest_key = tmp_path / "manifest.identity"
    manifest_key.write_text(f"{site.keyring.manifest_identity}\n")
    for archive in made.archives:
        refused = subprocess.run(
            ["age", "-d", "-i", manifest_key, site.objects / archive.key], capture_output=True, check=False
        )
        assert refused.returncode != 0
        assert refused.stdout == b""
        assert b"no identity matched" in refused.stderr
    site.keyring = of_backup_fleet(site.keyring)
    with pytest.raises(KeyMaterialError, match="opens no archive"):
        site.restore(made, tmp_path / "to")
    assert not (tmp_path / "to" / "ipfs" / "file").exists()
