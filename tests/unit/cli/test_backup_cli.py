"""`backup` on a real store in a folder, with real keys; what needs no Redis."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.backup.elsewhere import MARKER
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.cli import operator
from g3zkp_maint.testing.backup_place import BackupPlace

UNKNOWN = "g3zkp_full_20200101_000000"


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace.make(tmp_path)


@pytest.fixture
def full(place: BackupPlace) -> Manifest:
    return place.take()


@pytest.fixture
def invoke(place: BackupPlace):
    def run(*args: str, input: str | None = None, **extra: str) -> Result:
        # Port 1: whatever asks Redis fails at once.
        env = {**place.environment(), "G3ZKP_REDIS__URL": "redis://127.0.0.1:1/0", **extra}
        return CliRunner(env=env).invoke(cli.app, ["backup", *args], prog_name="g3zkp-maint", input=input)

    return run


def one_line(result: Result, code: str, exit_code: int) -> str:
    assert result.exit_code == exit_code, result.output
    assert result.stderr.rstrip("\n").endswith(f"[{code}]")
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last


# -- list and show -------------------------------------------------------------------------------------------------------


def test_list_shows_the_newest_first(place: BackupPlace, full: Manifest, invoke) -> None:
    place.write("ipfs/new", b"x" * 2048)
    incremental = place.take(1, BackupType.INCREMENTAL)
    head, first, second = invoke("list").stdout.splitlines()
    assert head.split() == ["NAME", "TYPE", "OUTCOME", "WHEN", "STORED", "NEW", "FILES", "PARENT"]
    assert first.startswith(incremental.name)
    assert first.endswith(full.name)
    assert "2.0 KiB" in first
    assert second.startswith(full.name)


def test_list_in_json_counts_what_each_backup_takes_by_itself(place: BackupPlace, full: Manifest, invoke) -> None:
    document = json.loads(invoke("list", "--json").stdout)
    (found,) = document["backups"]
    files = [path for path in place.store.rglob("*.age") if path.is_file()]
    assert found["name"] == full.name
    assert found["stored_bytes"] == sum(path.stat().st_size for path in files)
    assert found["entries"] == 7
    assert document["chain"] == {"is_whole": True, "breaks": []}


def test_list_of_nothing_says_how_to_begin(place: BackupPlace, invoke) -> None:
    assert "backup run full" in invoke("list").stdout
    assert json.loads(invoke("list", "--json").stdout)["backups"] == []


def test_list_shows_a_changed_manifest_as_invalid_and_why(place: BackupPlace, full: Manifest, invoke) -> None:
    place.take(1)
    _change_a_byte(place, full)
    result = invoke("list")
    assert result.exit_code == 0
    assert re.search(rf"^{full.name} .* INVALID ", result.stdout, re.MULTILINE)
    assert f"invalid: the manifest of {full.name} was changed after it was signed" in result.stdout
    assert "which was replaced or changed since" in result.stdout
    found = {one["name"]: one for one in json.loads(invoke("list", "--json").stdout)["backups"]}
    assert found[full.name]["outcome"] == "invalid"


def test_list_says_that_a_backup_was_removed(place: BackupPlace, full: Manifest, invoke) -> None:
    second = place.take(1)
    place.stored(full, "MANIFEST.json").unlink()
    expected = f"broken chain: {second.name} was made after {full.name}, which is no longer in the store"
    assert expected in invoke("list").stdout
    (gap,) = json.loads(invoke("list", "--json").stdout)["chain"]["breaks"]
    assert gap == {"name": second.name, "previous": full.name, "what": "removed"}


def test_long_list_tells_the_run(full: Manifest, invoke) -> None:
    assert "test-0" in invoke("list", "--long").stdout
    assert "test-0" not in invoke("list").stdout


def test_show_names_archives_and_signer(full: Manifest, invoke) -> None:
    shown = invoke("show", full.name).stdout
    assert full.signature is not None
    assert full.signature.signer in shown
    assert all(archive.key in shown and archive.sha256 in shown for archive in full.archives)
    assert json.loads(invoke("show", full.name, "--json").stdout) == full.model_dump(mode="json")


@pytest.mark.parametrize("command", ["show", "ls", "verify", "restore"])
def test_an_unknown_backup_is_one_line(place: BackupPlace, invoke, command: str) -> None:
    assert UNKNOWN in one_line(invoke(command, UNKNOWN), "unknown-backup", 1)


@pytest.mark.parametrize("command", ["show", "ls", "verify", "restore"])
def test_what_is_no_name_is_wrong_usage(place: BackupPlace, invoke, command: str) -> None:
    assert "is no backup name" in one_line(invoke(command, "the-last-one"), "bad-input", 2)


@pytest.mark.parametrize("command", ["show", "ls", "verify", "restore"])
def test_a_manifest_with_one_byte_changed_is_not_believed(
    place: BackupPlace, full: Manifest, invoke, command: str
) -> None:
    _change_a_byte(place, full)
    assert "its signature does not match" in one_line(invoke(command, full.name), "manifest-invalid", 1)


# -- ls ------------------------------------------------------------------------------------------------------------------


def test_ls_lists_like_ls(place: BackupPlace, invoke) -> None:
    (place.data / "keys" / "link").symlink_to("identity")
    os.chmod(place.data / "keys" / "identity", 0o640)
    (place.data / "keys" / "identity\x1b[31m").write_bytes(b"")
    lines = invoke("ls", place.take().name, "--component", "keys").stdout.splitlines()
    assert [line[:10] for line in lines] == ["drwxr-xr-x", "-rw-r-----", "-rw-r--r--", "lrwxrwxrwx"]
    assert lines[1].endswith(" keys/identity")
    assert lines[2].endswith(r" keys/identity\x1b[31m")
    assert lines[3].endswith(" keys/link -> identity")


def test_ls_takes_a_path_and_speaks_json_lines(full: Manifest, invoke) -> None:
    lines = invoke("ls", full.name, "ipfs/blocks/", "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert [row["path"] for row in found] == ["ipfs/blocks", "ipfs/blocks/AB", "ipfs/blocks/AB/CIQAB.data"]
    assert found[-1]["size"] == 3000


def test_ls_says_when_there_is_no_such_path(full: Manifest, invoke) -> None:
    assert "holds no path 'ipfs/block'" in one_line(invoke("ls", full.name, "ipfs/block"), "bad-input", 2)


def test_ls_without_a_key_that_opens_lists_says_which(place: BackupPlace, full: Manifest) -> None:
    env = {name: value for name, value in place.environment().items() if not name.endswith("_IDENTITY")}
    result = CliRunner(env=env).invoke(cli.app, ["backup", "ls", full.name], prog_name="g3zkp-maint")
    assert "keys.manifest_identity" in one_line(result, "key-material", 1)


# -- verify --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["quick", "full"])
def test_verify_of_a_whole_backup_is_content(full: Manifest, invoke, mode: str) -> None:
    found = json.loads(invoke("verify", full.name, "--mode", mode, "--json").stdout)
    assert (found["is_whole"], found["objects"], found["mode"]) == (True, 4, mode)
    assert "whole    yes" in invoke("verify", "--latest", "--mode", mode).stdout


def test_verify_names_all_problems_and_ends_with_1(place: BackupPlace, full: Manifest, invoke) -> None:
    place.stored(full, "ipfs.000.tar.zst.age").unlink()
    shortened = place.stored(full, "keys.000.tar.zst.age")
    shortened.write_bytes(shortened.read_bytes()[:-1])
    result = invoke("verify", full.name)
    assert "2 of 4 objects" in one_line(result, "archive-corrupt", 1)
    assert "ipfs.000.tar.zst.age is missing" in result.stdout
    assert "keys.000.tar.zst.age has" in result.stdout


def test_only_a_full_verify_sees_a_flipped_byte(place: BackupPlace, full: Manifest, invoke) -> None:
    archive = place.stored(full, "keys.000.tar.zst.age")
    archive.write_bytes(archive.read_bytes()[:-1] + b"!")
    assert invoke("verify", full.name).exit_code == 0
    result = invoke("verify", full.name, "--mode", "full", "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["problems"]) == 1
    assert json.loads(result.stderr)["code"] == "archive-corrupt"


def test_verify_wants_one_backup_and_a_known_mode(full: Manifest, invoke) -> None:
    assert "--latest" in one_line(invoke("verify"), "bad-input", 2)
    assert "--latest" in one_line(invoke("verify", full.name, "--latest"), "bad-input", 2)
    assert "'quick' or 'full'" in one_line(invoke("verify", full.name, "--mode", "deep"), "bad-input", 2)


def test_verify_latest_does_not_pass_over_one_that_is_not_believed(place: BackupPlace, full: Manifest, invoke) -> None:
    _change_a_byte(place, place.take(1))
    one_line(invoke("verify", "--latest"), "manifest-invalid", 1)


# -- run -----------------------------------------------------------------------------------------------------------------


def test_dry_run_counts_what_an_incremental_would_store(place: BackupPlace, full: Manifest, invoke) -> None:
    place.write("ipfs/new", b"x" * 100)
    before = place.tree(place.store)
    found = json.loads(invoke("run", "incremental", "--dry-run", "--json").stdout)
    assert (found["type"], found["parent"]) == ("incremental", full.name)
    ipfs, keys = found["components"]
    # The folder has changed as well: it holds one more.
    assert (ipfs["entries"], ipfs["new_entries"], ipfs["new_bytes"]) == (6, 2, 100)
    assert (keys["new_entries"], keys["new_bytes"]) == (0, 0)
    assert place.tree(place.store) == before


def test_dry_run_tells_that_an_incremental_would_become_a_full(place: BackupPlace, invoke) -> None:
    said = invoke("run", "--dry-run").stdout
    assert "this would be a full backup" in said
    assert "no valid backup to build on" in said


def test_a_wrong_type_is_wrong_usage(place: BackupPlace, invoke) -> None:
    assert "use 'full' or 'incremental'" in one_line(invoke("run", "total"), "bad-input", 2)


def test_run_without_redis_says_to_try_again(place: BackupPlace, invoke) -> None:
    assert "Redis" in one_line(invoke("run", "full"), "coordination-unavailable", 75)
    assert not place.store.exists()


# -- restore into a folder -----------------------------------------------------------------------------------------------


def test_restore_into_a_folder_needs_neither_redis_nor_consent(place: BackupPlace, full: Manifest, invoke) -> None:
    target = place.root / "out"
    restored = json.loads(invoke("restore", full.name, "--to", str(target), "--json").stdout)
    assert (restored["written"], restored["target"]) == (3, str(target))
    assert place.tree(target) == place.tree()


def test_restore_of_one_component_leaves_the_others(place: BackupPlace, full: Manifest, invoke) -> None:
    target = place.root / "out"
    assert invoke("restore", full.name, "--to", str(target), "--component", "keys").exit_code == 0
    assert list(place.tree(target)) == ["keys/identity"]
    assert "has no component 'kyes'" in one_line(
        invoke("restore", full.name, "--to", str(target), "-c", "kyes", "--overwrite"), "bad-input", 2
    )


def test_restore_refuses_a_folder_with_data(place: BackupPlace, full: Manifest, invoke) -> None:
    target = place.root / "out"
    (target / "ipfs").mkdir(parents=True)
    (target / "ipfs" / "mine").write_bytes(b"precious")
    assert "--overwrite" in one_line(invoke("restore", full.name, "--to", str(target)), "bad-input", 2)
    assert place.tree(target) == {"ipfs/mine": b"precious"}
    assert invoke("restore", full.name, "--to", str(target), "--overwrite").exit_code == 0
    assert place.tree(target) == place.tree()


def test_a_restore_into_a_folder_goes_on_after_it_failed(place: BackupPlace, full: Manifest, invoke) -> None:
    target, archive = place.root / "out", place.stored(full, "ipfs.000.tar.zst.age")
    content = archive.read_bytes()
    archive.unlink()
    failed = one_line(invoke("restore", full.name, "--to", str(target)), "restore", 1)
    assert f"Go on with: g3zkp-maint backup restore {full.name} --to {target}" in failed
    assert list(place.tree(target)) == [MARKER]
    archive.write_bytes(content)
    assert invoke("restore", full.name, "--to", str(target)).exit_code == 0
    assert place.tree(target) == place.tree()


def test_restore_dry_run_shows_the_plan_and_touches_nothing(place: BackupPlace, full: Manifest, invoke) -> None:
    target = place.root / "out"
    plan = json.loads(invoke("restore", full.name, "--to", str(target), "--dry-run", "--json").stdout)
    assert (plan["steps"], plan["components"], plan["entries"]) == (["check", "files"], ["ipfs", "keys"], 7)
    assert not target.exists()
    onto = invoke("restore", full.name, "--dry-run").stdout
    assert "check > safety > stop > files > start > health" in onto
    assert "nothing was done" in onto


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--overwrite"], "--overwrite goes with --to"),
        (["--to", "out", "--resume", "manual-1"], "--resume goes without --to"),
        (["--component", "redis"], "has no component 'redis'"),
    ],
)
def test_restore_refuses_options_that_do_not_go_together(full: Manifest, invoke, args: list[str], said: str) -> None:
    assert said in one_line(invoke("restore", full.name, *args), "bad-input", 2)


# -- restore onto the messenger: what is asked before anything is touched ------------------------------------------------


@pytest.mark.parametrize("args", [[], ["--confirm", "123456789abc"]], ids=["none", "wrong"])
def test_restore_without_its_token_tells_it(full: Manifest, invoke, args: list[str]) -> None:
    token = json.loads(invoke("restore", full.name, "--dry-run", "--json").stdout)["token"]
    result = invoke("restore", full.name, "--force", "--reason", "a test", *args)
    assert f"confirm it with the token {token}" in one_line(result, "confirmation-required", 1)


def test_restore_with_another_name_said_again_touches_nothing(full: Manifest, invoke) -> None:
    result = invoke("restore", full.name, "--force", "--reason", "a test", "--yes-i-mean", UNKNOWN)
    assert "nothing was touched" in one_line(result, "confirmation-required", 1)


def test_on_a_terminal_the_name_is_to_be_typed(place: BackupPlace, full: Manifest) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "backup", "restore", full.name]
    env = {**os.environ, **place.environment(), "G3ZKP_REDIS__URL": "redis://127.0.0.1:1/0"}
    os.write(ours, b"something else\n")
    done = subprocess.run(
        [*command, "--force", "--reason", "a test"], stdin=theirs, capture_output=True, env=env, check=False, timeout=30
    )
    os.close(ours)
    os.close(theirs)
    assert b"Type the backup's name" in done.stderr
    assert done.stderr.endswith(b"nothing was touched [confirmation-required]\n")
    assert b"ipfs, keys" in done.stdout


# -- extract -------------------------------------------------------------------------------------------------------------


def test_extract_is_for_single_objects(full: Manifest, invoke) -> None:
    said = one_line(invoke("extract", full.name, "keys", "-o", "out"), "bad-input", 2)
    assert "--component keys --to DIR" in said


def test_help_teaches_by_examples(invoke) -> None:
    for command in ([], ["run"], ["list"], ["ls"], ["verify"], ["restore"], ["extract"]):
        shown = invoke(*command, "--help")
        assert shown.exit_code == 0
        assert re.search(r"Examples:\s+g3zkp-maint backup", shown.stdout)


def test_a_reader_that_leaves_early_gets_no_traceback(place: BackupPlace, full: Manifest) -> None:
    command = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "backup", "ls", full.name]
    env = {**os.environ, **place.environment()}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(30)


def _change_a_byte(place: BackupPlace, manifest: Manifest) -> None:
    path = place.stored(manifest, "MANIFEST.json")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'"outcome":"ok"', b'"outcome":"oK"', 1) if b'"outcome":"ok"' in raw else raw[:-1])


def test_celery_reads_the_message_by_which_a_fleet_takes_a_run_up() -> None:
    kept = operator.signature("crypto.restore", "name", ["ipfs"], confirm="token", slot="manual-1")
    read = Celery(set_as_current=False).signature(json.loads(kept))
    assert (read.task, list(read.args)) == ("crypto.restore", ["name", ["ipfs"]])
    assert read.kwargs == {"confirm": "token", "slot": "manual-1"}
