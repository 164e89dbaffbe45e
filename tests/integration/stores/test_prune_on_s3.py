"""Prune on S3: below a prefix, with uploads of dead writers; and in a bucket with Object Lock, as docs/retention.md has it."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from test_backup_on_s3 import S3Place, place

from g3zkp_maint.backup.listing import chain_breaks, list_backups
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.prune import PruneSite, prune
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.settings import Retention
from g3zkp_maint.stores.s3 import S3Store
from g3zkp_maint.testing.backup_place import entered
from g3zkp_maint.testing.seaweed import ADMIN, Seaweed

pytestmark = pytest.mark.integration

__all__ = ["place"]

DOCUMENT = Path(__file__).parents[3] / "docs" / "retention.md"


class _NextWeek(SystemClock):
    def now(self):
        return super().now() + timedelta(days=7)


def test_prune_on_s3_leaves_what_stays_whole_and_nothing_else(place: S3Place) -> None:
    old = [place.take(0), place.take(1)]
    place.write("ipfs/new", b"new" * 100)
    stays = [place.take(2), place.take(3, BackupType.INCREMENTAL)]
    with entered(place.environment()):
        services = Services()
        store = services.store
        assert isinstance(store, S3Store)
        folder = f"messenger/one/{stays[0].folder}"
        store.put(f"{folder}/ipfs.000-r1.tar.zst.age", [b"an attempt that lost"])
        store.put("messenger/other", [b"somebody's"])
        policy = Retention(delete_after_hours=0)
        done = prune(PruneSite(services.repository, policy, _NextWeek(), Unguarded()))
        assert (done.outcome, set(done.deleted)) == ("ok", {one.name for one in old})
        left = {info.key for info in store.list("")}
        named = {key for one in stays for key in _keys(services, one.name)}
        assert left == named | {"messenger/other", "messenger/one/prune/ledger.0000000001.json"}
        for one in stays:
            assert verify(services.repository, one, VerifyMode.FULL).is_whole
        assert chain_breaks(services.repository, list_backups(services.repository)) == ((), ())


def _keys(services: Services, name: str) -> set[str]:
    found = services.repository.manifest(name)
    own = {archive.key for archive in found.own_archives()} | {c.index.key for c in found.components if c.index}
    return {services.repository.full_key(key) for key in own | {f"{found.folder}/MANIFEST.json"}}


# -- a bucket with Object Lock -------------------------------------------------------------------------------------------


def block(language: str, number: int = 0) -> str:
    """A block of the document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)[number]


def test_what_prune_deletes_in_a_locked_bucket_is_hidden_until_it_is_brought_back_as_the_document_says(
    place: S3Place, seaweed: Seaweed, aws: Path
) -> None:
    bucket, client = f"locked-{secrets.token_hex(6)}", seaweed.client()
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    place = replace(place, bucket=bucket)
    locked = {"G3ZKP_STORE__S3__LOCK_MODE": "COMPLIANCE", "G3ZKP_STORE__S3__LOCK_DAYS": "2"}
    with entered({**place.environment(), **locked}):
        old = place.take(0)
        place.write("ipfs/new", b"new" * 100)
        stays = place.take(1)
        services = Services()
        keys = _keys(services, old.name)
        sizes = {info.key: info.size for info in services.store.list("")}
        policy = Retention(delete_after_hours=0)
        done = prune(PruneSite(services.repository, policy, _NextWeek(), Unguarded()))
        assert (done.outcome, done.deleted, done.locked) == ("ok", (old.name,), ())
        assert (done.objects, done.freed_bytes) == (len(keys), sum(sizes[key] for key in keys))
        assert [str(name) for name in services.repository.names()] == [stays.name]
        versions = client.list_object_versions(Bucket=bucket)
        assert keys <= {found["Key"] for found in versions["Versions"]}

        (place.root / "lifecycle.json").write_text(block("json"))
        bring_back = block("bash", 1).replace("FOLDER=2026/11/g3zkp_full_20261101_020000/", 'FOLDER="$GIVEN"')
        done_by_hand = subprocess.run(
            ["bash", "-euc", block("bash").replace("BUCKET=g3zkp-backups", "") + bring_back],
            env={
                "PATH": f"{aws.parent}:{os.environ['PATH']}",
                "HOME": str(place.root),
                "BUCKET": bucket,
                "GIVEN": f"messenger/one/{old.folder}/",
                "AWS_ENDPOINT_URL": seaweed.endpoint_url,
                "AWS_ACCESS_KEY_ID": ADMIN.key_id,
                "AWS_SECRET_ACCESS_KEY": ADMIN.secret,
                "AWS_DEFAULT_REGION": "us-east-1",
            },
            cwd=place.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done_by_hand.returncode == 0, done_by_hand.stderr
        (rule,) = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == 14
        assert {info.key for info in services.store.list(f"messenger/one/{old.folder}/")} == keys
        assert verify(services.repository, old, VerifyMode.FULL).is_whole
