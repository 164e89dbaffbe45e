"""Prune on S3: below a prefix, with uploads of dead writers; the domain sees no difference."""

from __future__ import annotations

from datetime import timedelta

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

pytestmark = pytest.mark.integration

__all__ = ["place"]


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
