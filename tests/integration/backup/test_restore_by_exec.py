"""Restores whose files are written by commands where they belong: killed, cut off or led astray, and still exact."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from test_crashes import KILLED, DeadlyGuard, two_states
from test_full_disks import mounted
from trees import IS_ROOT, assert_same, become_nobody, in_child, seen

from g3zkp_maint.errors import ArchiveCorrupt, LeaseLost, RestoreError, TemporaryError
from g3zkp_maint.testing.backup_site import BackupSite

pytestmark = pytest.mark.integration


@pytest.fixture
def site(tmp_path: Path) -> BackupSite:
    return BackupSite(tmp_path, by_exec=True)


def assert_restored(one: Path, other: Path) -> None:
    assert_same(one, other, times_to_ns=1000)


def test_a_restore_killed_at_any_step_is_completed_by_the_next_attempt(site: BackupSite, tmp_path: Path) -> None:
    first, second = two_states(site)
    site.restore(first, tmp_path / "first")
    to = tmp_path / "to"
    number, status = -3, KILLED
    while status == KILLED:
        number += 4  # a step in between is of the same kind as its neighbours
        site.restore(second, to)
        status = in_child(lambda number=number: site.restore(first, to, guard=DeadlyGuard(number)))
        assert status in {0, KILLED}
        site.restore(first, to)
        assert_restored(tmp_path / "first" / "ipfs", to / "ipfs")
    assert number > 20
    _wait_until_nobody_writes(to)


def _wait_until_nobody_writes(root: Path) -> None:
    """The agent of a worker that was killed ends with its input."""
    until = time.monotonic() + 30
    while _agents(root):
        assert time.monotonic() < until, f"agents were left behind: {_agents(root)}"
        time.sleep(0.05)


def _agents(root: Path) -> list[str]:
    """Processes that hold a folder of ours open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            opened = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        found += [process.name for path in opened if path.startswith(str(root))]
    return found


@pytest.mark.parametrize("pieces", [2, 1000])
def test_a_restore_with_any_of_its_commands_killed_fails_for_now_and_the_next_attempt_completes_it(
    site: BackupSite, tmp_path: Path, pieces: int
) -> None:
    """Before its first orders have come, and when it has all of them and not yet their end."""
    first, second = two_states(site)
    site.restore(first, tmp_path / "first")
    to = tmp_path / "to"
    kills = 0
    site.place.kill_pieces = pieces
    while kills < 100:
        site.restore(second, to)
        site.place.kill_command = site.place.started + kills + 1
        try:
            site.restore(first, to)
        except TemporaryError:
            kills += 1
            site.restore(first, to)
        else:
            break
        assert_restored(tmp_path / "first" / "ipfs", to / "ipfs")
    assert 5 < kills < 20


def test_a_restore_whose_lease_is_lost_stops_there(site: BackupSite, tmp_path: Path) -> None:
    first, second = two_states(site)
    to = tmp_path / "to"
    site.restore(second, to)
    before = seen(to)
    with pytest.raises(LeaseLost):
        site.restore(first, to, guard=DeadlyGuard(1, is_lost=True))
    assert seen(to) == before
    for number in (2, 7, 12):
        with pytest.raises(LeaseLost):
            site.restore(first, to, guard=DeadlyGuard(number, is_lost=True))
    site.restore(first, to)
    site.restore(first, tmp_path / "fresh")
    assert_restored(tmp_path / "fresh" / "ipfs", to / "ipfs")


def test_an_archive_with_a_flipped_bit_is_never_taken_for_restored(site: BackupSite, tmp_path: Path) -> None:
    first, _ = two_states(site)
    archive = max(site.objects.rglob("*.tar.zst.age"), key=lambda path: path.stat().st_size)
    stored = bytearray(archive.read_bytes())
    stored[len(stored) // 2] ^= 1
    archive.write_bytes(stored)
    with pytest.raises(ArchiveCorrupt):
        site.restore(first, tmp_path / "to")


def test_a_link_planted_in_the_target_leads_nowhere(site: BackupSite, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "below").mkdir(parents=True)
    (outside / "a").write_bytes(b"not ours")
    first, _ = two_states(site)
    before = seen(outside)
    to = tmp_path / "to"
    (to / "ipfs").mkdir(parents=True)
    (to / "ipfs" / "folder").symlink_to(outside)
    (to / "ipfs" / "large").symlink_to(outside / "a")
    os.link(outside / "a", to / "ipfs" / "same")
    (to / "ipfs" / "extra").symlink_to(outside)
    site.restore(first, to)
    site.restore(first, tmp_path / "fresh")
    assert_restored(tmp_path / "fresh" / "ipfs", to / "ipfs")
    assert [one.content for one in seen(outside).values()] == [one.content for one in before.values()]
    assert sorted(seen(outside)) == sorted(before)


@pytest.mark.skipif(not IS_ROOT, reason="gives up root")
def test_a_target_that_may_not_be_written_and_owners_that_may_not_be_set_are_told(public_site: BackupSite) -> None:
    site = public_site
    site.by_exec = True
    (site.tree / "of-root").write_bytes(b"content")
    made = site.back_up()
    for path in (site.objects, *site.objects.rglob("*")):
        path.chmod(0o755)
    (site.base / "shut").mkdir()
    (site.base / "open").mkdir()
    (site.base / "open").chmod(0o777)

    def restore() -> None:
        become_nobody()
        with pytest.raises(RestoreError, match=r"shut .*cannot be written: Permission denied"):
            site.restore(made, site.base / "shut")
        assert site.restore(made, site.base / "open").owners_not_set == 2
        assert (site.base / "open" / "ipfs" / "of-root").read_bytes() == b"content"

    assert in_child(restore) == 0


@pytest.mark.skipif(not IS_ROOT, reason="mounts a small tmpfs, which needs root")
def test_a_full_disk_is_told_as_one(site: BackupSite, tmp_path: Path) -> None:
    (site.tree / "large").write_bytes(os.urandom(3 << 20))
    made = site.back_up()
    with mounted(tmp_path / "to", "1m") as to, pytest.raises(RestoreError, match="free some space"):
        site.restore(made, to)
