"""Parts of a backup by hand: paths restored by globs, one file shown, two backups compared. On a real store and keys."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.backup.age import encrypted
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.sealing import unsealed
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.testing.backup_place import BackupPlace, entered

BLOCKS = "ipfs/blocks/AB"


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    place = BackupPlace.make(tmp_path)
    place.write("ipfs/blocks/CD/CIQCD.data", b"other block")
    place.write("ipfs/binary", b"\0\x1b]0;title\a" + os.urandom(50))
    os.link(place.data / "ipfs/blocks/AB/CIQAB.data", place.data / "ipfs/linked")
    (place.data / "ipfs/pointer").symlink_to("config")
    return place


@pytest.fixture
def full(place: BackupPlace) -> Manifest:
    return place.take()


@pytest.fixture
def invoke(place: BackupPlace):
    def run(*args: str) -> Result:
        env = {**place.environment(), "G3ZKP_REDIS__URL": "redis://127.0.0.1:1/0"}
        return CliRunner(env=env).invoke(cli.app, ["backup", *args], prog_name="g3zkp-maint")

    return run


def restored(invoke, *args: str) -> dict[str, object]:
    result = invoke("restore", *args, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, object] = json.loads(result.stdout)
    return found


# -- restore by paths ----------------------------------------------------------------------------------------------------


def test_only_what_matches_is_written_with_the_folders_above_it(place: BackupPlace, full: Manifest, invoke) -> None:
    target = place.root / "out"
    (place.data / BLOCKS).chmod(0o750)
    result = restored(invoke, full.name, "--to", str(target), "--path", f"{BLOCKS}/*")
    assert list(place.tree(target)) == [f"{BLOCKS}/CIQAB.data"]
    assert (result["written"], result["removed"], result["paths"]) == (1, 0, [f"{BLOCKS}/*"])
    snapshot = {row["path"]: row for row in map(json.loads, invoke("ls", full.name, "--json").stdout.splitlines())}
    for folder in ("ipfs", "ipfs/blocks", BLOCKS):
        found = (target / folder).stat()
        assert (found.st_mode & 0o7777, found.st_mtime_ns) == (snapshot[folder]["mode"], snapshot[folder]["mtime_ns"])


def test_nothing_that_does_not_match_is_removed_or_changed(place: BackupPlace, full: Manifest, invoke) -> None:
    target = place.root / "out"
    restored(invoke, full.name, "--to", str(target))
    (target / BLOCKS / "CIQAB.data").write_bytes(b"spoilt")
    for surplus in (f"{BLOCKS}/new.data", "ipfs/blocks/CD/new.data", "keys/new"):
        (target / surplus).write_bytes(b"since then")
    (target / "ipfs/config").write_bytes(b"{changed}")
    (target / "ipfs").chmod(0o711)
    before = place.tree(target)
    result = restored(invoke, full.name, "--to", str(target), "--path", f"{BLOCKS}/*", "--overwrite")
    block, surplus = f"{BLOCKS}/CIQAB.data", f"{BLOCKS}/new.data"
    expected = {path: content for path, content in before.items() if path != surplus}
    assert place.tree(target) == {**expected, block: b"block " * 500}
    assert (target / "ipfs").stat().st_mode & 0o777 == 0o711
    assert (result["written"], result["removed"]) == (1, 1)


def test_a_link_to_what_is_not_selected_brings_its_content(place: BackupPlace, full: Manifest, invoke) -> None:
    target = place.root / "out"
    restored(invoke, full.name, "--to", str(target), "--path", "ipfs/linked", "--path", "keys")
    assert place.tree(target) == {"ipfs/linked": b"block " * 500, "keys/identity": b"not a real key"}


def test_a_file_in_the_way_of_a_folder_that_was_not_selected_stops_it(
    place: BackupPlace, full: Manifest, invoke
) -> None:
    target = place.root / "out"
    (target / "ipfs").mkdir(parents=True)
    (target / "ipfs/blocks").write_bytes(b"somebody's")
    arguments = (full.name, "--to", str(target), "--overwrite")
    result = invoke("restore", *arguments, "--path", f"{BLOCKS}/*")
    assert result.exit_code == 1
    assert "'ipfs/blocks' is no folder" in result.stderr
    assert (target / "ipfs/blocks").read_bytes() == b"somebody's"
    assert restored(invoke, *arguments, "--path", "ipfs/blocks")["written"] == 2


def test_a_link_in_the_place_of_a_folder_above_leads_nowhere(place: BackupPlace, full: Manifest, invoke) -> None:
    target, outside = place.root / "out", place.root / "outside"
    outside.mkdir()
    (target / "ipfs").mkdir(parents=True)
    (target / "ipfs/blocks").symlink_to(outside)
    result = invoke("restore", full.name, "--to", str(target), "--overwrite", "--path", f"{BLOCKS}/*")
    assert result.exit_code == 1
    assert list(outside.iterdir()) == []


def test_the_plan_counts_what_matches_and_its_token_binds_it(place: BackupPlace, full: Manifest, invoke) -> None:
    def plan(*args: str) -> dict[str, object]:
        return restored(invoke, full.name, "--dry-run", *args)

    whole, part, other = plan(), plan("--path", f"{BLOCKS}/*"), plan("--path", "ipfs/blocks/**")
    assert (part["entries"], part["bytes"], part["components"]) == (1, 3000, ["ipfs"])
    assert part["read_bytes"] < whole["read_bytes"]  # type: ignore[operator]
    assert part["steps"] == ["check", "safety", "stop", "files", "start", "health"]
    assert len({whole["token"], part["token"], other["token"], plan("-c", "ipfs")["token"]}) == 4
    confirm = ("--confirm", str(whole["token"]), "--force", "--reason", "a test")
    refused = invoke("restore", full.name, "--path", f"{BLOCKS}/*", *confirm)
    assert f"confirm it with the token {part['token']}" in refused.stderr


def test_paths_that_match_nothing_are_wrong_usage(place: BackupPlace, full: Manifest, invoke) -> None:
    result = invoke("restore", full.name, "--path", "ipfs/blokcs/*", "--to", str(place.root / "out"))
    assert result.exit_code == 2
    assert "nothing in" in result.stderr
    assert not (place.root / "out").exists()


def test_a_part_that_stopped_goes_on_with_its_paths(place: BackupPlace, full: Manifest, invoke) -> None:
    target, archive = place.root / "out", place.stored(full, "ipfs.000.tar.zst.age")
    content = archive.read_bytes()
    archive.unlink()
    assert invoke("restore", full.name, "--to", str(target), "--path", "ipfs/config").exit_code == 1
    assert "unfinished restore" in invoke("restore", full.name, "--to", str(target), "--path", "keys").stderr
    archive.write_bytes(content)
    assert restored(invoke, full.name, "--to", str(target))["paths"] == ["ipfs/config"]
    assert place.tree(target) == {"ipfs/config": b"{}"}


# -- which one -----------------------------------------------------------------------------------------------------------


def test_a_time_or_latest_stands_for_a_name(place: BackupPlace, full: Manifest, invoke) -> None:
    place.write("ipfs/new", b"new")
    second = place.take(1, BackupType.INCREMENTAL)
    # Both were planned a moment ago by a clock that is a day ahead.
    between = (second.planned_at - (second.planned_at - full.planned_at) / 2).isoformat()
    chosen = [restored(invoke, *args, "--dry-run")["backup"] for args in (["latest"], ["--at", between])]
    assert chosen == [second.name, full.name]
    assert "show" not in invoke("show", "latest").stderr
    assert second.name in invoke("show", "latest").stdout


@pytest.mark.parametrize("args", [[], ["NAME", "--at", "2026-01-01"], ["--at", "yesterday"]])
def test_no_name_or_two_are_wrong_usage(full: Manifest, invoke, args: list[str]) -> None:
    assert invoke("restore", *args).exit_code == 2


def test_a_time_before_all_backups_is_an_error(full: Manifest, invoke) -> None:
    result = invoke("restore", "--at", "2001-01-01", "--dry-run")
    assert (result.exit_code, "[unknown-backup]" in result.stderr) == (1, True)


# -- cat -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["ipfs/config", "ipfs/binary", "ipfs/linked", f"{BLOCKS}/CIQAB.data", "keys/identity"])
def test_cat_gives_the_bytes_of_one_file(place: BackupPlace, full: Manifest, invoke, path: str) -> None:
    assert invoke("cat", full.name, path).stdout_bytes == (place.data / path).read_bytes()


def test_cat_of_a_large_file_needs_its_archive_only(place: BackupPlace, invoke) -> None:
    large = os.urandom(12 << 20)
    place.write("ipfs/large", large)
    full = place.take()
    for archive in full.archives:
        if archive.component == "keys":
            place.stored(full, archive.key.rpartition("/")[2]).unlink()
    assert invoke("cat", full.name, "ipfs/large").stdout_bytes == large


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("ipfs/blocks", "a folder"),
        ("ipfs/pointer", "a link to 'config'"),
        ("ipfs/none", "holds no path 'ipfs/none'"),
    ],
)
def test_cat_of_what_is_no_file_says_what_it_is(full: Manifest, invoke, path: str, said: str) -> None:
    result = invoke("cat", full.name, path)
    assert (result.exit_code, said in result.stderr) == (2, True)


def test_cat_shows_nothing_of_a_file_whose_bytes_were_swapped(place: BackupPlace, full: Manifest, invoke) -> None:
    """By somebody who can write the store: recipients are public, so an archive that opens can be put in its place."""
    archive = next(one for one in full.archives if one.component == "ipfs")
    with entered(place.environment()):
        repository = Services().repository
    identities = repository.keyring.archive_identities()
    plain = b"".join(unsealed(repository.store.get(archive.key), identities=identities, what=archive.key))
    frame = zstandard.compress(plain.replace(b"block block", b"BLOCK BLOCK"), 19)
    recipients = repository.keyring.archive_recipients()
    room = archive.size - sum(map(len, encrypted([frame], recipients))) - 8
    skipped = b"\x50\x2a\x4d\x18" + room.to_bytes(4, "little") + bytes(room)  # a frame that fills it to the same length
    forged = b"".join(encrypted([frame, skipped], recipients))
    assert len(forged) == archive.size
    place.stored(full, "ipfs.000.tar.zst.age").write_bytes(forged)
    result = invoke("cat", full.name, f"{BLOCKS}/CIQAB.data")
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert "holds other bytes for 'ipfs/blocks/AB/CIQAB.data'" in result.stderr


def test_cat_into_a_file_makes_it_ours_alone_and_overwrites_none(place: BackupPlace, full: Manifest, invoke) -> None:
    target = place.root / "identity"
    assert invoke("cat", full.name, "keys/identity", "-o", str(target)).exit_code == 0
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"not a real key", 0o600)
    assert invoke("cat", full.name, "keys/identity", "-o", str(target)).exit_code == 2


@pytest.mark.parametrize(
    ("path", "options", "exit_code"),
    [("ipfs/config", [], 0), ("ipfs/binary", [], 2), ("ipfs/binary", ["--force"], 0)],
)
def test_a_terminal_is_shown_text_only(
    place: BackupPlace, full: Manifest, path: str, options: list[str], exit_code: int
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "backup", "cat", full.name, path]
    env = {**os.environ, **place.environment()}
    done = subprocess.run([*command, *options], stdout=theirs, stderr=subprocess.PIPE, env=env, check=False, timeout=30)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == exit_code, done.stderr


# -- diff ----------------------------------------------------------------------------------------------------------------


def test_diff_tells_each_change_once(place: BackupPlace, full: Manifest, invoke) -> None:
    place.write("ipfs/new", b"x" * 2048)
    place.write("ipfs/config", b"{longer}")
    (place.data / "keys/identity").chmod(0o600)
    (place.data / "ipfs/blocks/CD/CIQCD.data").unlink()
    second = place.take(1, BackupType.INCREMENTAL)
    lines = [json.loads(line) for line in invoke("diff", full.name, second.name, "--json").stdout.splitlines()]
    found = {one["path"]: one for one in lines}
    assert found["ipfs/new"] == {"change": "added", "path": "ipfs/new", "before": None, "after": 2048}
    assert (found["ipfs/config"]["change"], found["ipfs/config"]["after"]) == ("content", 8)
    assert found["keys/identity"]["change"] == "metadata"
    assert found["ipfs/blocks/CD/CIQCD.data"]["change"] == "removed"
    assert {one["change"] for one in lines if one["path"].endswith(("ipfs", "CD"))} == {"metadata"}
    shown = invoke("diff", full.name, "latest", "-c", "keys").stdout
    assert "keys/identity" in shown
    assert "ipfs" not in shown


def test_diff_of_a_backup_with_itself_is_nothing(full: Manifest, invoke) -> None:
    assert invoke("diff", full.name, full.name).stdout == "no difference\n"
    assert invoke("diff", full.name, full.name, "--json").stdout == ""


def test_the_long_list_tells_how_long_it_took_and_which_one_was_before(
    place: BackupPlace, full: Manifest, invoke
) -> None:
    second = place.take(1)
    head, newest, _ = invoke("list", "--long").stdout.splitlines()
    assert {"TOOK", "AFTER", "RUN"} <= set(head.split())
    assert newest.split().count(full.name) == 1
    document = json.loads(invoke("list", "--json").stdout)["backups"][0]
    assert (document["name"], document["previous"]) == (second.name, full.name)
    assert document["took_seconds"] >= 0
