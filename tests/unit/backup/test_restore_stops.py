"""What a restore says when it stops, and whether it may be tried again."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.places import HELPERS
from g3zkp_maint.backup.restore import RestoreSite, restore
from g3zkp_maint.backup.restore_plan import plan_restore
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.checkpoint import MemoryCheckpoint
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.coordination.journal import Step
from g3zkp_maint.errors import (
    ArchiveCorrupt,
    DeadlineExceeded,
    MaintenanceError,
    PlatformDenied,
    PlatformUnavailable,
    RestoreError,
    RestoreInterrupted,
    StoreUnavailable,
    TemporaryError,
)
from g3zkp_maint.health.check import HealthReport
from g3zkp_maint.platforms.base import MESSENGER, Workload
from g3zkp_maint.settings import Backup, Settings
from g3zkp_maint.testing.backup_site import BackupSite


class Stopping:
    """A platform whose `wait_scaled` raises what it is given, once."""

    def __init__(self, *errors: MaintenanceError, names: tuple[str, ...] = (MESSENGER,)) -> None:
        self.errors = list(errors)
        self.names = names
        self.scaled: list[int] = []
        self.forsaken: list[Collection[str]] = []
        self.refusals: list[str] = []

    def workloads(self) -> list[Workload]:
        return [Workload(name, "Deployment", self.scaled[-1] if self.scaled else 2, 2) for name in self.names]

    def scale(self, workload: str, replicas: int) -> None:
        assert workload == MESSENGER
        self.scaled.append(replicas)

    def wait_scaled(self, workload: str, deadline_seconds: float) -> None:
        assert (workload, deadline_seconds > 0) == (MESSENGER, True)
        if self.errors:
            raise self.errors.pop(0)

    def sweep_helpers(self, *, forsaken: Collection[str] = ()) -> int:
        self.forsaken.append(forsaken)
        return 0

    def check_helper(self, name: str, *, of: str) -> None:
        assert of == MESSENGER
        if self.refusals:
            raise PlatformDenied(self.refusals.pop(0))

    def health_url(self) -> str:
        return "http://127.0.0.1:1"


class Away:
    """A store whose objects cannot be read."""

    def __init__(self, store: Any, error: MaintenanceError) -> None:
        self._store = store
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, *_: object, **__: object) -> Iterator[bytes]:
        raise self._error


@pytest.fixture
def manifest(site: BackupSite) -> Manifest:
    (site.tree / "block").write_bytes(b"content")
    return site.repository.manifest(site.back_up().name)


def restore_site(site: BackupSite, platform: Stopping, **other: Any) -> RestoreSite:
    settings = Settings(backup=Backup(mounted_root=site.data, components=site.components))
    made = RestoreSite(
        repository=site.repository,
        settings=settings,
        platform=platform,  # type: ignore[arg-type]
        clock=SystemClock(),
        guard=Unguarded(),
        checkpoint=MemoryCheckpoint(),
        step=lambda _: nullcontext(Step()),
    )
    return dataclasses.replace(made, **other)


def stopped(where: RestoreSite, manifest: Manifest) -> MaintenanceError:
    with pytest.raises((RestoreError, RestoreInterrupted)) as caught:
        restore(where, plan_restore(manifest, safety=False), manifest, run="a-run")
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StoreUnavailable("no answer", retry_after_seconds=9), RestoreInterrupted),
        (ArchiveCorrupt("short"), RestoreError),
    ],
)
def test_a_store_that_is_away_interrupts_it_and_a_broken_archive_ends_it(
    site: BackupSite, manifest: Manifest, error: MaintenanceError, kind: type[MaintenanceError]
) -> None:
    repository = dataclasses.replace(site.repository, store=Away(site.store, error))
    found = stopped(restore_site(site, Stopping(), repository=repository), manifest)
    assert type(found) is kind
    assert "stopped at step 'check'" in str(found)
    assert "Nothing was touched" in str(found)
    assert "--resume a-run" in str(found)
    assert not isinstance(found, TemporaryError) or found.retry_after_seconds == 9


def test_interrupted_it_goes_on_where_it_was_and_the_messenger_has_what_it_had(
    site: BackupSite, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("g3zkp_maint.backup.restore.await_healthy", lambda *_, **__: HealthReport("", ()))
    (site.tree / "block").write_bytes(b"spoilt!")
    platform = Stopping(DeadlineExceeded("pods are still there"))
    where = restore_site(site, platform)
    found = stopped(where, manifest)
    assert isinstance(found, RestoreInterrupted)
    assert "set back to 2 instances" in str(found)
    assert platform.scaled == [0, 2]
    platform.errors = [PlatformUnavailable("the API server is away")]
    assert isinstance(stopped(where, manifest), RestoreInterrupted)
    platform.errors = []
    done = restore(where, plan_restore(manifest, safety=False), manifest, run="a-run")
    assert (done.written, done.backup) == (1, manifest.name)
    assert (site.tree / "block").read_bytes() == b"content"
    assert platform.scaled[-2:] == [0, 2]
    assert set(platform.forsaken) == {HELPERS}, "an attempt on another machine may have had them"


def test_refused_its_helper_it_touches_nothing_and_the_messenger_stays_up(site: BackupSite, manifest: Manifest) -> None:
    platform = Stopping()
    platform.refusals = ["violates PodSecurity"]
    by_exec = Settings(backup=Backup(source="exec", mounted_root=site.data, components=site.components))
    where = restore_site(site, platform, settings=by_exec)
    found = stopped(where, manifest)
    assert "violates PodSecurity" in str(found)
    assert "Nothing was touched" in str(found)
    assert platform.scaled == []

    # What only showed once its instances were gone.
    where.checkpoint.save(done=["check"])
    platform.refusals = ["exceeded quota"]
    assert "set back to 2 instances" in str(stopped(where, manifest))
    assert platform.scaled == [0, 2]


def test_without_the_workloads_it_says_that_the_objects_come_first(site: BackupSite, manifest: Manifest) -> None:
    found = stopped(restore_site(site, Stopping(names=())), manifest)
    assert f"there is no {MESSENGER} to restore the data of" in str(found)
    assert "--component k8s" in str(found)
