"""A history of backups for the tests of prune, in a real folder, with the litter that dead runs leave."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from g3zkp_maint.backup.component import archive_shard
from g3zkp_maint.backup.listing import chain_breaks, list_backups
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.plan import BackupPlan
from g3zkp_maint.backup.prepare import prepare
from g3zkp_maint.backup.prune import Pruned, PruneSite, prune
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.coordination.guard import Guard, Unguarded
from g3zkp_maint.settings import Retention
from g3zkp_maint.testing.backup_site import FIRST, BackupSite, of_backup_fleet

#: Three hours after the fifth backup of a site; `within` one day leaves the fifth and what it needs.
NOW = FIRST + timedelta(days=4, hours=3)
AT_ONCE = Retention(keep_within_days=1, delete_after_hours=0, max_share_per_run=1)
KEEP_ALL = Retention(keep_within_days=900)
IN_A_DAY = AT_ONCE.model_copy(update={"delete_after_hours": 24})


@dataclass
class FixedClock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


# -- histories -----------------------------------------------------------------------------------------------------------


@dataclass
class History:
    """Five backups: full, two incrementals that need it (and the second the first), full, incremental. `trees` is what
    each held. Every object was stored when its backup was made."""

    site: BackupSite
    made: list[Manifest]
    trees: dict[str, dict[str, bytes]]

    @property
    def names(self) -> list[str]:
        return [manifest.name for manifest in self.made]

    def prune_site(self, at: datetime = NOW, policy: Retention = AT_ONCE, guard: Guard | None = None) -> PruneSite:
        fleet = Repository(self.site.store, of_backup_fleet(self.site.keyring))
        return PruneSite(fleet, policy, FixedClock(at), guard or Unguarded())

    def prune(self, at: datetime = NOW, policy: Retention = AT_ONCE, **more: bool) -> Pruned:
        return prune(self.prune_site(at, policy), **more)

    def left(self) -> list[str]:
        return [str(name) for name in self.site.repository.names()]

    def objects(self) -> set[str]:
        return {info.key for info in self.site.store.list("")}

    def folder(self, number: int) -> Path:
        return self.site.objects / self.made[number].folder

    def assert_all_whole(self, scratch: Path) -> None:
        """Each backup that there is verifies to the last byte and restores to what it held."""
        repository = self.site.repository
        for name in self.left():
            manifest = repository.manifest(name)
            assert verify(repository, manifest, VerifyMode.FULL).problems == ()
            target = scratch / name
            shutil.rmtree(target, ignore_errors=True)
            self.site.restore(manifest, target)
            assert tree(target / "ipfs") == self.trees[name]

    def assert_chain_holds(self) -> None:
        assert chain_breaks(self.site.repository, list_backups(self.site.repository)) == ((), ())


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def age(root: Path, at: datetime) -> None:
    """As if all that is new there had been stored at that time."""
    for path in root.rglob("*"):
        if path.is_file() and path.stat().st_mtime > NOW.timestamp():
            os.utime(path, (at.timestamp(), at.timestamp()))


def make_history(base: Path) -> History:
    site = BackupSite(base)
    made, trees = [], {}
    for number, kind in enumerate(["full", "incremental", "incremental", "full", "incremental"]):
        (site.tree / f"file{number}").write_bytes(os.urandom(300))
        (site.tree / "changing").write_bytes(os.urandom(200))
        (site.tree / f"file{number - 3}").unlink(missing_ok=True)
        manifest = site.back_up(kind)
        age(site.objects, manifest.at)
        made.append(manifest)
        trees[manifest.name] = tree(site.tree)
    found = History(site, made, trees)
    assert {archive.backup for archive in made[2].archives} == set(found.names[:3])
    assert {archive.backup for archive in made[4].archives} == set(found.names[3:])
    return found


def dead_run(history: History, *, at: datetime) -> BackupPlan:
    """A run that stored an archive and then died: its parent is the newest backup."""
    (history.site.tree / "of the dead run").write_bytes(os.urandom(99))
    workshop = history.site.workshop()
    plan = prepare(workshop, replace(history.site.request("incremental", "run-40"), run="dead"))
    assert isinstance(plan, BackupPlan)
    archive_shard(workshop, plan, plan.shards[0].archive)
    age(history.site.objects, at)
    return plan


def litter(history: History, at: datetime) -> set[str]:
    """Of a dead run, of an attempt that lost beside a backup, of one whose `work/` was not swept. The keys of all."""
    before = history.objects()
    dead_run(history, at=at)
    folder = history.made[4].folder
    for rest in ("ipfs.000-r1.tar.zst.age", "ipfs-r1.index.zst.age", "work/0123/ipfs.order.zst.age"):
        history.site.store.put(f"{folder}/{rest}", [b"of a dead run"])
    age(history.site.objects, at)
    return history.objects() - before
