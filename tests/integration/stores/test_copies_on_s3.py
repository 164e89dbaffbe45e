"""Copies on and before S3: a bucket as the second store, local copies before a bucket, and a restore that reads once."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from test_backup_on_s3 import S3Place, place

from g3zkp_maint.backup.copying import copy_backup
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.prune import prune
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.unpack import Unpacker
from g3zkp_maint.backup.verify import VerifyMode, check_all, needed, verify
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.checkpoint import MemoryCheckpoint
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.progress import NoProgress
from g3zkp_maint.stores.fetched import FetchedStore
from g3zkp_maint.stores.s3 import S3Store
from g3zkp_maint.stores.staged import StagedStore
from g3zkp_maint.testing.backup_place import entered
from g3zkp_maint.testing.seaweed import Seaweed

pytestmark = pytest.mark.integration

__all__ = ["place"]

#: Of more than one part.
LARGE = random.Random(5).randbytes(20_000_000)


class _NextWeek(SystemClock):
    def now(self) -> datetime:
        return super().now() + timedelta(days=7)


def _never(name: str) -> None:
    raise AssertionError(name)


def restored(place: S3Place, repository: Repository, made: Manifest, to: Path) -> dict[str, bytes]:
    unpacker = Unpacker(repository, MountedTarget(to), Unguarded())
    for component in made.components:
        unpacker.unpack(made, component.name)
    return place.tree(to)


def test_copies_in_another_bucket_are_verified_restored_and_pruned(
    place: S3Place, seaweed: Seaweed, bucket: str, tmp_path: Path
) -> None:
    seaweed.client().create_bucket(Bucket=f"{bucket}-second")
    place.write("ipfs/blocks/CD/CIQCD.data", LARGE)
    made = [place.take(0), place.take(1)]
    first = {name: value for name, value in place.environment().items() if "STORE__S3" in name}
    second = {name.replace("STORE__S3", "SECOND_STORE__S3"): value for name, value in first.items()}
    settings = {
        **place.environment(),
        **second,
        "G3ZKP_SECOND_STORE__KIND": "s3",
        "G3ZKP_SECOND_STORE__S3__BUCKET": f"{bucket}-second",
        "G3ZKP_RETENTION__DELETE_AFTER_HOURS": "0",
    }
    with entered(settings):
        services = Services(clock=_NextWeek())
        target = services.second_repository
        assert isinstance(target.store, S3Store)
        for one in made:
            objects = len(list(needed(one)))
            assert copy_backup(services.copy_site(Unguarded()), one.name).objects == objects
            assert copy_backup(services.copy_site(Unguarded()), one.name).already == objects
            assert verify(target, one, VerifyMode.FULL).is_whole
        assert restored(place, target, made[1], tmp_path / "restored") == place.tree()
        done = prune(services.second_prune_site(Unguarded()))
        assert (done.outcome, done.deleted) == ("ok", (made[0].name,))
        assert [str(name) for name in target.names()] == [made[1].name]
        assert len(services.repository.names()) == 2
        assert verify(target, made[1], VerifyMode.FULL).is_whole


def test_local_copies_before_a_bucket_are_read_in_its_place_until_one_is_damaged(
    place: S3Place, seaweed: Seaweed, bucket: str, tmp_path: Path
) -> None:
    place.write("ipfs/blocks/CD/CIQCD.data", LARGE)
    staged = {"G3ZKP_STAGING__PATH": str(tmp_path / "staging")}
    with entered(staged):
        made = place.take(0)
    (archive,) = (one for one in made.archives if one.component == "ipfs")
    key = f"messenger/one/{archive.key}"
    stored = seaweed.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    with entered({**place.environment(), **staged}):
        services = Services()
        assert isinstance(services.store, StagedStore)
        # The bucket's object spoilt, in its size: what is read then is the local copy.
        seaweed.client().put_object(Bucket=bucket, Key=key, Body=bytes(len(stored)))
        assert restored(place, services.repository, made, tmp_path / "one") == place.tree()
        assert not verify(services.primary_repository, made, VerifyMode.FULL).is_whole
        # And the copy spoilt, the bucket's whole: what is read is that.
        seaweed.client().put_object(Bucket=bucket, Key=key, Body=stored)
        (copy,) = (tmp_path / "staging" / "messenger" / "one").rglob("ipfs.000.tar.zst.age.*")
        copy.write_bytes(bytes(len(stored)))
        assert restored(place, services.repository, made, tmp_path / "two") == place.tree()


def test_a_restore_from_a_bucket_reads_each_archive_once_and_leaves_no_copy(
    place: S3Place, seaweed: Seaweed, bucket: str, tmp_path: Path
) -> None:
    place.write("ipfs/blocks/CD/CIQCD.data", LARGE)
    made = place.take(0)
    with entered({**place.environment(), "G3ZKP_RESTORE__SCRATCH": str(tmp_path / "scratch")}):
        services = Services()
        site = services.restore_site(Unguarded(), MemoryCheckpoint(), _never)  # type: ignore[arg-type]
        assert isinstance(site.repository.store, FetchedStore)
        check_all(site.repository, needed(made), NoProgress(), workers=2)
        copies = [path for path in (tmp_path / "scratch").iterdir() if path.is_file()]
        assert len(copies) == len(list(needed(made)))
        for one in made.archives:  # what is not there any more cannot be read again
            seaweed.client().delete_object(Bucket=bucket, Key=f"messenger/one/{one.key}")
        assert restored(place, replace(site.repository), made, tmp_path / "restored") == place.tree()
        for found in needed(made):
            site.repository.release(found)
        assert [path.name for path in (tmp_path / "scratch").iterdir()] == [".parts"]
