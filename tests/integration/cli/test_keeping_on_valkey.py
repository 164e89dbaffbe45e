"""`backup drill`, `drills`, `copy` and `reread` under real runs, leases and a journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination import Mode
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.operations.backup import copy_and_make_up
from g3zkp_maint.operations.drill import drill
from g3zkp_maint.testing.backup_place import BackupPlace, entered

pytestmark = pytest.mark.integration

Invoke = Callable[..., Result]
PATH = "ipfs/blocks/AB/CIQAB.data"


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace.make(tmp_path)


@pytest.fixture
def environment(place: BackupPlace, redis_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        **place.environment(),
        "G3ZKP_REDIS__URL": redis_url,
        "G3ZKP_DRILL__SCRATCH": str(tmp_path / "scratch"),
        "G3ZKP_SECOND_STORE__KIND": "directory",
        "G3ZKP_SECOND_STORE__DIRECTORY__PATH": str(tmp_path / "second"),
        "G3ZKP_VERIFY__REREAD_DAYS": "1",
    }


@pytest.fixture
def full(place: BackupPlace) -> Manifest:
    return place.take()


@pytest.fixture
def invoke(environment: dict[str, str]) -> Iterator[Invoke]:
    def run(*args: str) -> Result:
        return CliRunner().invoke(cli.app, ["backup", *args], prog_name="g3zkp-maint")

    with entered(environment):
        yield run


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def flip(place: BackupPlace, manifest: Manifest, file: str) -> str:
    path = place.stored(manifest, file)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    return path.relative_to(place.store).as_posix()


def events(task: str) -> list[Any]:
    return [record.event for record in Services().journal.read() if record.event.task == task]


def test_a_drill_by_hand_is_a_run_and_its_evidence_is_listed(full: Manifest, invoke: Invoke) -> None:
    assert "no drills yet" in invoke("drills").stdout
    told = document(invoke("drill", full.name, "--json"))
    assert (told["name"], told["outcome"]) == (full.name, "ok")
    document(invoke("drill", "--latest", "--json"))
    kept = document(invoke("drills", "--json"))["drills"]
    assert [one["backup"] for one in kept] == [full.name] * 2
    assert kept[0]["key"] == told["evidence"]
    table = invoke("drills").stdout
    assert table.count(full.name) == 2
    steps = [event.step for event in events("crypto.drill") if event.event == "finished"]
    assert {"drill", "files:ipfs", "files:keys", ""} == set(steps)


def test_a_drill_that_fails_fails_its_run_and_shows_paths_to_the_operator_alone(
    place: BackupPlace, full: Manifest, invoke: Invoke
) -> None:
    key = flip(place, full, "ipfs.000.tar.zst.age")
    result = invoke("drill", "--latest")
    assert result.exit_code != 0
    assert key in result.stderr
    assert "[drill-failed]" in result.stderr
    (kept,) = document(invoke("drills", "--json"))["drills"]
    assert kept["outcome"] == "failed"
    told = "".join(str(event) for event in events("crypto.drill"))
    assert "drill-failed" in told
    assert "CIQAB" not in told


def test_a_drill_opens_what_the_store_has_and_no_local_copy(
    place: BackupPlace, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("G3ZKP_STAGING__PATH", str(tmp_path / "staging"))
    key = flip(place, place.take(), "ipfs.000.tar.zst.age")
    assert list((tmp_path / "staging").rglob("ipfs.000.tar.zst.age.*"))
    result = invoke("drill", "--latest")
    assert (result.exit_code != 0, key in result.stderr) == (True, True)


def test_with_the_recovery_identity_offline_a_fleets_drill_is_skipped_and_one_by_hand_says_what_lacks(
    full: Manifest, environment: dict[str, str], invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("G3ZKP_KEYS__RECOVERY_IDENTITY")
    services = Services()
    occasion = Occasion("crypto.drill", full.name, "a fleet", "{}", wants={"store": Mode.SHARED})
    told = services.conductor.perform(occasion, partial(drill, services, full.name, full.name))
    assert (told["outcome"], "backup drill --latest" in told["remark"]) == ("skipped", True)
    ends = [(event.event, event.outcome) for event in events("crypto.drill") if event.event in {"finished", "failed"}]
    assert ends == [("finished", "skipped")] * 2
    assert document(invoke("drills", "--json"))["drills"] == []
    assert "[key-material]" in invoke("drill", "--latest").stderr


def test_copies_go_to_the_second_store_and_are_verified_there(
    place: BackupPlace, full: Manifest, invoke: Invoke, tmp_path: Path
) -> None:
    place.write("ipfs/new", b"x" * 5000)
    later = place.take(1, BackupType.INCREMENTAL)
    copied = document(invoke("copy", "--all", "--json"))["copies"]
    assert [one["name"] for one in copied] == [full.name, later.name]
    assert document(invoke("copy", later.name, "--json"))["copies"][0]["objects"] == 0
    assert document(invoke("verify", later.name, "--mode", "full", "--second-store", "--json"))["is_whole"]
    assert place.tree(tmp_path / "second") == {
        name: raw for name, raw in place.tree(place.store).items() if not name.startswith("drills/")
    }
    (tmp_path / "disk").mkdir()
    document(invoke("copy", "--latest", "--to-store", str(tmp_path / "disk"), "--json"))
    assert later.name in str(sorted((tmp_path / "disk").rglob("MANIFEST.json")))


def test_a_damaged_backup_keeps_no_other_from_being_copied_and_is_told(
    place: BackupPlace, full: Manifest, invoke: Invoke, tmp_path: Path
) -> None:
    later = place.take(1)
    flip(place, full, "ipfs.000.tar.zst.age")
    result = invoke("copy", "--all", "--json")
    assert result.exit_code != 0
    told = json.loads(result.stdout)
    assert [one["name"] for one in told["copies"]] == [later.name]
    assert [(one["name"], one["error"]) for one in told["failed"]] == [(full.name, "archive-corrupt")]
    assert f"1 of 2 backups were not copied: {full.name}" in result.stderr
    (tmp_path / "disk").mkdir()
    result = invoke("copy", "--all", "--to-store", str(tmp_path / "disk"))
    assert (result.exit_code != 0, later.name in result.stdout) == (True, True)


def test_a_copy_into_a_folder_is_on_no_record_by_which_a_fleet_would_make_it_elsewhere(
    full: Manifest, invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    document(invoke("copy", "--latest", "--to-store", str(tmp_path / "disk"), "--json"))
    assert not Services().redis.keys("*run:backup.copy*")
    assert [(event.step, event.event) for event in events("backup.copy")] == [("copy", "started"), ("copy", "finished")]
    document(invoke("copy", "--latest", "--json"))
    assert Services().redis.keys("*run:backup.copy*")


def test_after_a_backup_is_copied_those_whose_copy_failed_are_made_up_and_a_damaged_one_is_told(
    place: BackupPlace, full: Manifest, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [full, *(place.take(number) for number in range(1, 4))]
    flip(place, full, "ipfs.000.tar.zst.age")
    assert document(invoke("copy", made[1].name, "--json"))

    def copy_newest(slot: str) -> dict[str, Any]:
        occasion = Occasion("backup.copy", slot, "a fleet", "{}", wants={"store": Mode.SHARED})
        services = Services()
        found: dict[str, Any] = services.conductor.perform(occasion, partial(copy_and_make_up, services, made[3].name))
        return found

    told = copy_newest("past-their-days")
    assert (told["made_up"], told["outcome"]) == ([], "ok")
    monkeypatch.setenv("G3ZKP_RETENTION__KEEP_WITHIN_DAYS", "36500")
    told = copy_newest("kept")
    assert (told["name"], told["made_up"], told["outcome"]) == (made[3].name, [made[2].name], "partial")
    assert [problem.partition(":")[0] for problem in told["problems"]] == [full.name]
    assert [str(name) for name in Services().second_repository.names()] == [one.name for one in made[1:]]


def test_copy_refuses_what_makes_no_sense(full: Manifest, place: BackupPlace, invoke: Invoke, tmp_path: Path) -> None:
    for args in ([], [full.name, "--all"], ["--latest", "--all"]):
        assert "[bad-input]" in invoke("copy", *args).stderr
    for folder in (place.store, tmp_path / "missing"):
        assert "[bad-input]" in invoke("copy", full.name, "--to-store", str(folder)).stderr
    with entered({"G3ZKP_SECOND_STORE__KIND": "none"}):
        assert "[settings]" in invoke("copy", full.name).stderr
    with entered({"G3ZKP_SECOND_STORE__DIRECTORY__PATH": str(place.store)}):
        assert "second_store is the store itself" in invoke("copy", full.name).stderr


def test_the_reread_names_the_archive_and_its_files_and_the_journal_only_counts(
    place: BackupPlace, full: Manifest, invoke: Invoke
) -> None:
    read = document(invoke("reread", "--json"))
    assert read["objects"] == read["of_objects"] > 3
    key = flip(place, full, "ipfs.000.tar.zst.age")
    Services().redis.delete("g3zkp:checkpoint:backup.reread")
    result = invoke("reread")
    assert result.exit_code != 0
    assert f"damaged: {key} holds 2 files" in result.stderr
    assert PATH in result.stderr
    told = [event for event in events("backup.reread") if event.step == "reread" and event.outcome == "failed"]
    assert told[-1].detail["files_touched"] == 2
    assert "CIQAB" not in "".join(map(str, events("backup.reread")))


def test_copies_are_read_again_on_a_record_of_their_own_and_a_limit_that_is_too_small_says_so(
    place: BackupPlace, full: Manifest, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document(invoke("copy", "--latest", "--json"))
    damaged = tmp_path / "second" / full.folder / "keys.000.tar.zst.age"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    result = invoke("reread", "--second-store")
    assert result.exit_code != 0
    assert "the second store is damaged" in result.stderr
    assert "keys.000.tar.zst.age" in result.stderr
    read = document(invoke("reread", "--json"))  # the copies were read, and not the store
    assert (read["objects"], read["problems"], read["remark"]) == (read["of_objects"], [], "")
    Services().redis.delete("g3zkp:checkpoint:backup.reread")
    monkeypatch.setenv("G3ZKP_VERIFY__REREAD_BYTES", "1")
    read = document(invoke("reread", "--json"))
    assert read["objects"] == 1
    assert "verify.reread_bytes=1 allows no more" in read["remark"]
    told = [event for event in events("backup.reread") if event.step == "reread" and "remark" in event.detail]
    assert (told[-1].detail["remark"], told[-1].detail["overdue"]) == (read["remark"], 0)


def test_a_full_verify_names_the_files_of_a_damaged_archive(place: BackupPlace, full: Manifest, invoke: Invoke) -> None:
    key = flip(place, full, "ipfs.000.tar.zst.age")
    result = invoke("verify", "--latest", "--mode", "full")
    assert result.exit_code != 0
    assert f"{key} holds 2 files of {full.name}" in " ".join(result.stdout.split())
    assert PATH in result.stdout


def test_a_prune_that_holds_the_store_makes_them_wait(full: Manifest, invoke: Invoke) -> None:
    with Services().leases.acquire({"store": Mode.EXCLUSIVE}, owner="backup.prune:test"):
        for args in (["drill", "--latest"], ["copy", full.name], ["reread"]):
            assert "[lease-busy]" in invoke(*args).stderr
