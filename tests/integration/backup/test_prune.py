"""Prune on real histories in a real folder: what goes, and what stays."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from prune_history import (
    AT_ONCE,
    IN_A_DAY,
    KEEP_ALL,
    NOW,
    History,
    age,
    dead_run,
    litter,
    make_history,
    tree,
)

from g3zkp_maint.backup.ledger import read_shelf
from g3zkp_maint.backup.listing import chain_breaks, list_backups
from g3zkp_maint.backup.prune import PrunePlan, look, prune
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.errors import (
    KeyMaterialError,
    ManifestInvalid,
    PermanentError,
)
from g3zkp_maint.settings import Retention
from g3zkp_maint.stores.staged import StagedStore

pytestmark = pytest.mark.integration


@pytest.fixture
def history(tmp_path: Path) -> History:
    return make_history(tmp_path)


# -- what goes, what stays -----------------------------------------------------------------------------------------------


def test_backups_past_their_days_go_with_all_their_objects(history: History, tmp_path: Path) -> None:
    stays = {key for key in history.objects() if key.split("/")[2] in history.names[3:]}
    size = sum(path.stat().st_size for number in range(3) for path in history.folder(number).rglob("*.*"))
    done = history.prune()
    assert set(done.deleted) == set(history.names[:3])
    assert history.left() == history.names[3:]
    assert history.objects() == stays | {"prune/ledger.0000000001.json"}
    assert (done.outcome, done.kept, done.freed_bytes) == ("ok", 2, size)
    history.assert_all_whole(tmp_path / "restored")
    history.assert_chain_holds()


def test_what_a_kept_incremental_needs_stays(history: History, tmp_path: Path) -> None:
    third = history.made[2].at
    done = history.prune(at=third + timedelta(days=1))
    assert done.deleted == ()
    assert history.left() == history.names
    history.assert_all_whole(tmp_path / "restored")


def test_prune_again_does_nothing_and_writes_no_more_ledgers(history: History) -> None:
    history.prune()
    again = history.prune()
    settled = history.objects()
    assert (again.deleted, again.marked, again.objects) == ((), (), 0)
    history.prune()
    assert history.objects() == settled
    history.assert_chain_holds()


def test_the_ledger_keeps_only_what_a_backup_still_points_to(history: History) -> None:
    history.prune()
    history.prune()
    ledger = read_shelf(history.site.repository).ledger
    assert set(ledger.pruned) == {history.names[2]}
    assert ledger.pruned[history.names[2]].previous is None
    assert ledger.marked == {}


def test_one_removed_by_hand_still_shows_after_a_prune(history: History) -> None:
    (history.folder(3) / "MANIFEST.json").unlink()
    history.prune()
    ((gap,), _) = chain_breaks(history.site.repository, list_backups(history.site.repository))
    assert (gap.previous, gap.is_removed) == (history.names[3], True)


def test_a_dry_run_changes_nothing_and_gives_the_reasons(history: History) -> None:
    before = tree(history.site.objects)
    plan = look(history.prune_site())
    assert isinstance(plan, PrunePlan)
    assert tree(history.site.objects) == before
    assert set(plan.due) == set(history.names[:3])
    told = {one["name"]: one["why"] for one in plan.as_dict()["backups"]}
    assert told[history.names[3]] == f"newest-full, needed by {history.names[4]}"
    assert told[history.names[0]] == "past its days, and no rule keeps it"


# -- marks ---------------------------------------------------------------------------------------------------------------


def test_a_marked_backup_goes_after_the_delay_and_not_before(history: History) -> None:
    first = history.prune(policy=IN_A_DAY)
    assert (set(first.marked), first.deleted) == (set(history.names[:3]), ())
    early = history.prune(at=NOW + timedelta(hours=23.9), policy=IN_A_DAY)
    assert (early.marked, early.deleted) == ((), ())
    assert history.left() == history.names
    assert set(history.prune(at=NOW + timedelta(hours=24), policy=IN_A_DAY).deleted) == set(history.names[:3])


def test_a_mark_is_withdrawn_when_the_plan_changes(history: History) -> None:
    history.prune(policy=IN_A_DAY)
    kinder = IN_A_DAY.model_copy(update={"keep_within_days": 30})
    assert set(history.prune(policy=kinder).withdrawn) == set(history.names[:3])
    later = history.prune(at=NOW + timedelta(days=2), policy=IN_A_DAY)
    assert (set(later.marked), later.deleted) == (set(history.names[:3]), ())


def test_a_mark_does_not_count_for_another_manifest_of_that_name(history: History) -> None:
    history.prune(policy=IN_A_DAY)
    signed_anew = history.site.repository.manifest(history.names[0]).model_copy(update={"notes": ("another",)})
    (history.folder(0) / "MANIFEST.json").unlink()
    history.site.repository.commit(signed_anew.model_copy(update={"signature": None}))
    later = history.prune(at=NOW + timedelta(days=2), policy=IN_A_DAY)
    assert history.names[0] in later.marked
    assert history.names[0] not in later.deleted


def test_a_forged_ledger_stops_prune_with_nothing_touched(history: History) -> None:
    history.prune(policy=IN_A_DAY)
    (file,) = (history.site.objects / "prune").iterdir()
    file.write_bytes(file.read_bytes().replace(b"2026-01-08", b"2025-01-08"))
    before = tree(history.site.objects)
    with pytest.raises(ManifestInvalid, match=r"Nothing was pruned.*prune/ledger\.0000000001\.json"):
        history.prune(policy=IN_A_DAY)
    assert tree(history.site.objects) == before


def test_nothing_is_marked_without_a_key_to_sign_with(history: History) -> None:
    site = history.prune_site()
    keyless = replace(site, repository=Repository(history.site.store, replace(history.site.keyring, signing_key=None)))
    with pytest.raises(KeyMaterialError):
        prune(keyless)
    assert history.left() == history.names


# -- the share -----------------------------------------------------------------------------------------------------------


HALF = AT_ONCE.model_copy(update={"max_share_per_run": 0.5})


def test_more_than_the_share_is_refused_and_nothing_is_touched(history: History) -> None:
    dead_run(history, at=NOW - timedelta(days=9))
    before = tree(history.site.objects)
    with pytest.raises(PermanentError, match=r"would take 3 of 5 backups.*nothing was touched.*--force"):
        history.prune(policy=HALF)
    assert tree(history.site.objects) == before


def test_local_copies_past_their_time_go_even_where_the_store_is_not_pruned(history: History, tmp_path: Path) -> None:
    site = history.prune_site(policy=HALF)
    old = tmp_path / "staging" / "2026" / f"old.{'0' * 64}"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    store = StagedStore(site.repository.store, tmp_path / "staging", keep_days=7, clock=site.clock)
    with pytest.raises(PermanentError, match="nothing was touched"):
        prune(replace(site, repository=replace(site.repository, store=store)))
    assert not old.exists()


def test_exactly_the_share_is_done(history: History) -> None:
    assert len(history.prune(policy=AT_ONCE.model_copy(update={"max_share_per_run": 0.6})).deleted) == 3


def test_what_was_marked_by_force_is_deleted_by_later_runs_without(history: History) -> None:
    patient = HALF.model_copy(update={"delete_after_hours": 24})
    assert set(history.prune(policy=patient, force=True).marked) == set(history.names[:3])
    assert set(history.prune(at=NOW + timedelta(days=1), policy=patient).deleted) == set(history.names[:3])


def test_a_clock_that_ran_ahead_for_years_takes_nothing(history: History) -> None:
    with pytest.raises(PermanentError, match="Check the clock"):
        history.prune(at=NOW + timedelta(days=3650), policy=Retention(delete_after_hours=0))
    assert history.left() == history.names


# -- leftovers -----------------------------------------------------------------------------------------------------------


def test_leftovers_of_dead_runs_are_swept_after_48_hours_and_not_before(history: History, tmp_path: Path) -> None:
    littered = litter(history, NOW)
    assert len(littered) > 6
    assert history.prune(at=NOW + timedelta(hours=47.9), policy=KEEP_ALL).objects == 0
    assert littered <= history.objects()
    assert history.prune(at=NOW + timedelta(hours=48.1), policy=KEEP_ALL).objects == len(littered)
    assert not littered & history.objects()
    assert history.left() == history.names
    history.assert_all_whole(tmp_path / "restored")


def test_a_run_whose_newest_object_is_young_is_left_whole_however_old_the_rest(history: History) -> None:
    plan = dead_run(history, at=NOW - timedelta(days=9))
    (marker,) = (history.site.objects / plan.work).glob("*.done.json")
    os.utime(marker, (NOW.timestamp(), NOW.timestamp()))
    before = history.objects()
    assert history.prune(policy=KEEP_ALL).objects == 0
    assert history.objects() == before


def test_what_a_run_under_way_builds_on_stays_although_it_is_past_its_days(history: History) -> None:
    third = history.made[2]
    for number in (3, 4):
        shutil.rmtree(history.folder(number))
    dead_run(history, at=NOW)  # whose parent is now the third
    (history.site.tree / "more").write_bytes(b"x")
    fresh = history.site.back_up("full", "run-4")
    age(history.site.objects, NOW)
    assert history.prune().deleted == ()
    assert set(history.left()) == {*history.names[:3], fresh.name}
    later = NOW + timedelta(days=3)
    assert third.name in history.prune(at=later).deleted


def test_parts_of_dead_writers_are_swept(history: History) -> None:
    part = history.folder(4) / ".ipfs.000.tar.zst.age.part-00"
    part.write_bytes(b"half of it")
    age(history.site.objects, NOW)
    assert history.prune(at=NOW + timedelta(hours=47), policy=KEEP_ALL).parts == 0
    assert history.prune(at=NOW + timedelta(hours=49), policy=KEEP_ALL).parts == 1
    assert not part.exists()


def test_what_is_not_ours_is_left_alone(history: History) -> None:
    strange = {
        "2026/01/README",
        f"{history.made[0].folder}/note.txt",
        "2026/01/other/a.age",
        "2025/12/x/work/plan.json",
    }
    strange |= {f"2026/02/{history.names[0]}/ipfs.000.tar.zst.age"}  # in the folder of another month
    for key in strange:
        history.site.store.put(key, [b"somebody's"])
    age(history.site.objects, NOW - timedelta(days=90))
    history.prune()
    assert strange <= history.objects()


def test_archives_whose_manifest_somebody_removed_are_kept_and_told(history: History) -> None:
    manifest = history.folder(1) / "MANIFEST.json"
    raw = manifest.read_bytes()
    manifest.unlink()
    done = history.prune(policy=KEEP_ALL)
    assert done.objects == 0
    assert done.outcome == "partial"
    assert "put its manifest back" in done.problems[0]
    manifest.write_bytes(raw)
    assert verify(history.site.repository, history.made[1], VerifyMode.FULL).is_whole


def test_a_manifest_that_is_not_believed_keeps_its_folder_and_what_it_needs(history: History) -> None:
    manifest = history.folder(2) / "MANIFEST.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"outcome":"ok"', b'"outcome":"OK"'))
    history.site.store.put(f"{history.made[2].folder}/ipfs.000-r1.tar.zst.age", [b"old"])
    age(history.site.objects, NOW - timedelta(days=9))
    before = history.objects()
    done = history.prune()
    assert done.outcome == "partial"
    assert "was changed after it was signed" in done.problems[0]
    assert before <= history.objects()


def test_a_backup_that_lacks_an_archive_is_told_and_never_taken_for_the_newest_full(history: History) -> None:
    (archive,) = history.folder(3).glob("ipfs.000.*")
    archive.write_bytes(archive.read_bytes()[:-1])
    done = history.prune(at=NOW + timedelta(days=30), policy=AT_ONCE)
    assert history.names[0] in history.left()
    assert any(f"{history.names[3]} is not whole" in problem for problem in done.problems)


def test_the_prefix_of_the_store_bounds_everything(history: History) -> None:
    inside = {info.key for info in history.site.store.list("")}
    other = replace(history.prune_site(), repository=Repository(history.site.store, history.site.keyring, "elsewhere"))
    assert prune(other).kept == 0
    assert history.objects() == inside


def test_times_in_the_result_and_in_the_ledger_are_utc(history: History) -> None:
    history.prune(policy=IN_A_DAY)
    marks = read_shelf(history.site.repository).ledger.marked
    assert {mark.marked_at for mark in marks.values()} == {NOW.astimezone(UTC)}
