"""A disk without room: an error that says so, nothing that passes for a backup, and no work lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from test_crashes import CountingStore
from test_redis_dumps import client_of, fill, server, taken
from trees import IS_ROOT, assert_same

from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.errors import RestoreError, SourceError, StoreFull
from g3zkp_maint.testing.backup_site import BackupSite

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not IS_ROOT, reason="mounts a small tmpfs, which needs root")]

Disk = Callable[[Path, str], Path]


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    """Mounts an empty disk of a size at a folder."""
    with ExitStack() as mounts:
        yield lambda folder, size: mounts.enter_context(mounted(folder, size))


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_store_without_room_ends_the_backup_and_the_same_run_goes_on_when_there_is_some(
    site: BackupSite, disk: Disk, tmp_path: Path
) -> None:
    for number in range(10):
        (site.tree / f"file-{number}").write_bytes(os.urandom(1 << 20))
    store = disk(site.objects, "8m")
    with pytest.raises(StoreFull, match="free or add space, then run again"):
        site.back_up(run="run-1")
    assert site.repository.names() == []
    left = [info.key for info in site.store.list("")]
    finished = [key for key in left if key.endswith(".done.json")]
    archives = [key for key in left if key.endswith(".tar.zst.age")]
    assert len(finished) == len(archives) > 3
    assert all("/work/" in key or key in archives for key in left)
    assert not [path for path in store.rglob(".*") if path.is_file()]  # nor any temporary file

    subprocess.run(["mount", "-o", "remount,size=64m", store], check=True)
    counting = CountingStore(site.objects)
    site.store = counting
    made = site.back_up(run="run-1")
    assert not set(counting.keys) & set(archives)
    assert sum(key.endswith(".tar.zst.age") for key in counting.keys) == len(made.archives) - len(archives)
    assert verify(site.repository, made, VerifyMode.FULL).is_whole
    site.restore(made, tmp_path / "to")
    assert_same(site.tree, tmp_path / "to" / "ipfs")


@pytest.mark.parametrize("size", [100, 6 << 20], ids=["many small files", "a large file"])
def test_a_target_without_room_ends_the_restore_and_says_so(
    site: BackupSite, disk: Disk, size: int, tmp_path: Path
) -> None:
    for number in range((12 << 20) // max(size, 1 << 20)):
        (site.tree / f"file-{number}").write_bytes(os.urandom(max(size, 1 << 20)))
    made = site.back_up()
    target = disk(tmp_path / "to", "8m")
    with pytest.raises(RestoreError, match="No space left on device; free some space, then go on"):
        site.restore(made, target)
    subprocess.run(["mount", "-o", "remount,size=64m", target], check=True)
    site.restore(made, target)
    assert_same(site.tree, target / "ipfs")


def test_a_save_of_redis_that_has_no_room_is_an_error_and_with_room_again_it_is_taken(
    disk: Disk, tmp_path: Path
) -> None:
    with server(disk(tmp_path / "redis", "1m")) as source:
        fill(source)
        with pytest.raises(SourceError, match="BGSAVE failed"):
            taken(source)
        client_of(source).delete("large")
        assert taken(source)[1]["keys"] == 503
