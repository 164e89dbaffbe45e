"""The one composition root: settings become services. Importing it opens no socket and reads no environment.

Each service is made when it is first asked for, so a process pays for what it uses, and a fleet that lacks a key only
fails where it needs it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property

import redis

from g3zkp_maint import settings as settings_module
from g3zkp_maint.alertmanager import Alertmanager
from g3zkp_maint.backup.copying import CopySite
from g3zkp_maint.backup.drill import DrillSite
from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.mounted import MountedSource
from g3zkp_maint.backup.places import messenger_source
from g3zkp_maint.backup.prune import PruneSite
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.reread import RereadSite
from g3zkp_maint.backup.restore import RestoreSite
from g3zkp_maint.backup.source import Source
from g3zkp_maint.cleanup.housekeeping import Yard
from g3zkp_maint.clock import Clock, SystemClock
from g3zkp_maint.coordination import Journal, Leases, Runs, Step, connect
from g3zkp_maint.coordination.checkpoint import Checkpoint, MemoryCheckpoint, RedisCheckpoint
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.coordination.notice_claims import NoticeClaims
from g3zkp_maint.coordination.occasion import Conductor
from g3zkp_maint.coordination.window_ledger import WindowLedger
from g3zkp_maint.errors import SettingsError
from g3zkp_maint.keys.material import load_identities, load_recipients, load_signers, load_signing_key
from g3zkp_maint.notices import Notices
from g3zkp_maint.notices.log import LogNotifier
from g3zkp_maint.notices.services import read_urls, services_of
from g3zkp_maint.platforms.base import Platform
from g3zkp_maint.platforms.inspection import Inspection
from g3zkp_maint.platforms.issuer import Issuer
from g3zkp_maint.platforms.local import LocalPlatform
from g3zkp_maint.progress import NoProgress, Progress
from g3zkp_maint.rotation.plan import RotationPlan
from g3zkp_maint.rotation.site import RotationSite
from g3zkp_maint.settings import Settings, load
from g3zkp_maint.stores.base import Store
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.stores.fetched import FetchedStore
from g3zkp_maint.stores.staged import StagedStore
from g3zkp_maint.windows.plan import plan_windows


class Services:
    """What one process works with. Not to be shared over a fork: make one in each child."""

    def __init__(self, settings: Settings | None = None, *, clock: Clock | None = None) -> None:
        """`settings` None: from this process's environment. Raises SettingsError."""
        self.settings = settings or load()
        self.clock = clock or SystemClock()

    # -- coordination --------------------------------------------------------------------------------------------------

    @cached_property
    def redis(self) -> redis.Redis:
        return connect(self.settings.redis.url.get_secret_value())

    @cached_property
    def leases(self) -> Leases:
        coordination = self.settings.coordination
        return Leases(
            self.redis,
            clock=self.clock,
            ttl_seconds=coordination.lease_ttl_seconds,
            renew_seconds=coordination.lease_renew_seconds,
            retry_seconds=coordination.retry_seconds,
        )

    @cached_property
    def runs(self) -> Runs:
        coordination = self.settings.coordination
        return Runs(
            self.redis,
            clock=self.clock,
            leases=self.leases,
            keep_days=coordination.run_keep_days,
            max_attempts=coordination.max_attempts,
            handoff_seconds=coordination.handoff_seconds,
            grace_seconds=coordination.grace_seconds,
        )

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.redis, clock=self.clock, cap=self.settings.coordination.journal_records)

    @cached_property
    def conductor(self) -> Conductor:
        coordination = self.settings.coordination
        return Conductor(
            runs=self.runs,
            leases=self.leases,
            journal=self.journal,
            clock=self.clock,
            wait_seconds=coordination.lease_wait_seconds,
            handoff_seconds=coordination.handoff_seconds,
            retry_seconds=coordination.retry_seconds,
        )

    # -- the ports -----------------------------------------------------------------------------------------------------

    @cached_property
    def primary_store(self) -> Store:
        """The store itself: for whoever asks whether *it* is whole."""
        return self._store(self.settings.store)

    @cached_property
    def store(self) -> Store:
        """The store, through its local copies where there are some."""
        staging = self.settings.staging
        if staging.path is None:
            return self.primary_store
        return StagedStore(self.primary_store, staging.path, keep_days=staging.keep_days, clock=self.clock)

    def _store(self, place: settings_module.Store | settings_module.SecondStore) -> Store:
        if place.kind == "s3":
            # boto3 takes 10 MiB and a quarter of a second: only whose store is there pays for it.
            from g3zkp_maint.stores.s3 import S3Store  # noqa: PLC0415

            return S3Store(place.s3, clock=self.clock, swept_prefix=place.prefix)
        return DirectoryStore(place.directory.path)

    @cached_property
    def platform(self) -> Platform:
        place = self.settings.platform
        if place.kind == "kubernetes":
            # The client costs a fifth of a second: only whose messenger is in a cluster pays for it.
            from g3zkp_maint.platforms.kubernetes import kubernetes_platform  # noqa: PLC0415

            return kubernetes_platform(place, clock=self.clock)
        return LocalPlatform(place.state_dir, namespace=place.namespace, clock=self.clock)

    @cached_property
    def housekeeping(self) -> Yard:
        """The messenger's namespace, for what is left over in it. Raises SettingsError where there is none."""
        from g3zkp_maint.platforms.kubernetes import KubernetesPlatform  # noqa: PLC0415 -- as above
        from g3zkp_maint.platforms.kubernetes_housekeeping import KubernetesHousekeeping  # noqa: PLC0415

        platform = self.platform
        if not isinstance(platform, KubernetesPlatform):
            raise SettingsError("cleanup.housekeeping_days is for platform.kind=kubernetes; unset it here")
        return KubernetesHousekeeping(platform.client)

    @cached_property
    def inspection(self) -> Inspection:
        """The cluster around the messenger, as audits see it. Raises SettingsError where there is none."""
        from g3zkp_maint.platforms.kubernetes import KubernetesPlatform  # noqa: PLC0415 -- as above
        from g3zkp_maint.platforms.kubernetes_inspection import KubernetesInspection  # noqa: PLC0415

        platform, settings = self.platform, self.settings
        if not isinstance(platform, KubernetesPlatform):
            raise SettingsError("only a cluster can be inspected; set platform.kind=kubernetes")
        return KubernetesInspection(
            platform.client,
            (settings.platform.namespace, settings.audit.fleets_namespace),
            in_cluster=settings.audit.look_into_cluster,
        )

    @cached_property
    def issuer(self) -> Issuer:
        """What makes certificates in the cluster, and its own. Raises SettingsError where there is none."""
        from g3zkp_maint.platforms.kubernetes import KubernetesPlatform  # noqa: PLC0415 -- as above
        from g3zkp_maint.platforms.kubernetes_issuer import KubernetesIssuer  # noqa: PLC0415

        platform = self.platform
        if not isinstance(platform, KubernetesPlatform):
            raise SettingsError("only in a cluster certificates are made; set platform.kind=kubernetes")
        return KubernetesIssuer(platform.client, self.clock)

    # -- telling people ------------------------------------------------------------------------------------------------

    @cached_property
    def notices(self) -> Notices:
        """By the log, and by each service of the settings. Raises SettingsError for a file that cannot be read."""
        chosen = self.settings.notices
        listed = read_urls(chosen.urls_file) if chosen.urls_file else ()
        claims = NoticeClaims(self.redis, keep_days=chosen.keep_days)
        return Notices((LogNotifier(), *services_of((*chosen.urls, *listed))), claims)

    def is_quiet(self, at: datetime) -> bool:
        """Whether nobody is to be told of the messenger's health at that time: in a maintenance window."""
        return any(one.is_open(at) for one in plan_windows(self.settings.windows, self.windows.windows(), at))

    # -- maintenance windows -------------------------------------------------------------------------------------------

    @cached_property
    def windows(self) -> WindowLedger:
        return WindowLedger(self.redis)

    @cached_property
    def alertmanager(self) -> Alertmanager | None:
        """None where the settings name none."""
        settings, platform = self.settings.windows, self.settings.platform
        if settings.alertmanager_url is None:
            return None
        namespace = settings.alert_namespace
        if namespace is None:
            namespace = platform.namespace if platform.kind == "kubernetes" else ""
        return Alertmanager(settings.alertmanager_url, namespace=namespace, silenced=settings.silenced_alerts)

    # -- backups -------------------------------------------------------------------------------------------------------

    @cached_property
    def keyring(self) -> Keyring:
        """The keys that this process was given. Raises KeyMaterialError for a file that is missing or malformed."""
        keys = self.settings.keys
        manifest = load_identities(keys.manifest_identity) if keys.manifest_identity else [None]
        return Keyring(
            recipients=load_recipients(keys.recipients) if keys.recipients else (),
            signers=load_signers(keys.trusted_signers) if keys.trusted_signers else (),
            signing_key=load_signing_key(keys.signing_key) if keys.signing_key else None,
            manifest_identity=manifest[0],
            recovery_identities=load_identities(keys.recovery_identity) if keys.recovery_identity else (),
        )

    @cached_property
    def repository(self) -> Repository:
        store = self.settings.store
        return Repository(self.store, self.keyring, store.prefix, self.settings.backup.compression_level)

    @cached_property
    def primary_repository(self) -> Repository:
        """The same backups, read from the store itself and from no local copy."""
        return dataclasses.replace(self.repository, store=self.primary_store)

    @cached_property
    def second_repository(self) -> Repository:
        """The copies. Raises SettingsError where there is no second store."""
        place = self.settings.second_store
        if place.kind == "none":
            raise SettingsError("second_store.kind is 'none': set it to 'directory' or 's3', and its place")
        return dataclasses.replace(self.repository, store=self._store(place), prefix=place.prefix)

    @cached_property
    def messenger_source(self) -> Source:
        """The messenger's files, while it runs."""
        if self.settings.backup.source == "mounted":
            return MountedSource(self.settings.backup.mounted_root)
        return messenger_source(self.settings, self.platform)

    def workshop(self, guard: Guard, *, progress: Progress | None = None) -> Workshop:
        """For the steps of a backup, under a lease."""
        needs_platform = any(c.kind != "files" or c.pre or c.post for c in self.settings.backup.components)
        platform = self.platform if needs_platform else None
        progress = progress or NoProgress()
        return Workshop(
            self.repository, self.settings.backup, self.clock, guard, platform, progress, self.messenger_source
        )

    def prune_site(self, guard: Guard, *, progress: Progress | None = None) -> PruneSite:
        """For retention, under the store's lease."""
        return PruneSite(self.repository, self.settings.retention, self.clock, guard, progress or NoProgress())

    def second_prune_site(self, guard: Guard, *, progress: Progress | None = None) -> PruneSite:
        """For retention in the second store, under the store's lease. Raises SettingsError where there is none."""
        return dataclasses.replace(
            self.prune_site(guard, progress=progress),
            repository=self.second_repository,
            first=self.primary_repository,
        )

    def copy_site(
        self, guard: Guard, *, target: Repository | None = None, progress: Progress | None = None
    ) -> CopySite:
        """For copies into the second store, or into `target`, under the store's lease."""
        return CopySite(self.repository, target or self.second_repository, guard, progress or NoProgress())

    def reread_site(self, guard: Guard, *, progress: Progress | None = None) -> RereadSite:
        """For the daily re-reading, under the store's lease. What was read when is kept in Redis for a year."""
        checkpoint = RedisCheckpoint(self.redis, "backup.reread", keep_days=366)
        return RereadSite(
            self.primary_repository,
            self.clock,
            guard,
            checkpoint,
            self.settings.verify.reread_days,
            progress or NoProgress(),
            self.settings.verify.reread_bytes,
        )

    def second_reread_site(self, guard: Guard, *, progress: Progress | None = None) -> RereadSite:
        """As `reread_site`, for the copies. Raises SettingsError where there is no second store."""
        return dataclasses.replace(
            self.reread_site(guard, progress=progress),
            repository=self.second_repository,
            checkpoint=RedisCheckpoint(self.redis, "backup.reread_second", keep_days=366),
        )

    def drill_site(
        self,
        guard: Guard,
        step: Callable[[str], AbstractContextManager[Step]],
        *,
        progress: Progress | None = None,
    ) -> DrillSite:
        """For drills, under the store's lease. They read the store itself: a local copy is gone with this machine, and
        proves nothing of what the store would give back."""
        return DrillSite(
            self.primary_repository, self.settings.drill, self.clock, guard, step, progress or NoProgress()
        )

    def restore_site(
        self,
        guard: Guard,
        checkpoint: Checkpoint,
        step: Callable[[str], AbstractContextManager[Step]],
        *,
        progress: Progress | None = None,
    ) -> RestoreSite:
        """For the steps of a restore, under its leases."""
        keep_days = self.settings.coordination.run_keep_days
        is_shared = isinstance(checkpoint, RedisCheckpoint)
        outage = RedisCheckpoint(self.redis, "outage", keep_days=keep_days) if is_shared else MemoryCheckpoint()
        return RestoreSite(
            repository=self._fetching_repository(),
            settings=self.settings,
            platform=self.platform,
            clock=self.clock,
            guard=guard,
            checkpoint=checkpoint,
            outage=outage,
            step=step,
            progress=progress or NoProgress(),
        )

    def _fetching_repository(self) -> Repository:
        """A remote store is read once by a restore; one on a disk here needs no copies."""
        settings = self.settings.restore
        if self.settings.store.kind == "directory" or settings.scratch is None:
            return self.repository
        store = FetchedStore(self.store, settings.scratch, most_bytes=settings.scratch_bytes, clock=self.clock)
        return dataclasses.replace(self.repository, store=store)

    # -- keys of the messenger -----------------------------------------------------------------------------------------

    def rotation_site(
        self,
        guard: Guard,
        step: Callable[[str], AbstractContextManager[Step]],
        *,
        run: str,
        allow: Callable[[RotationPlan], None],
        attempt: int,
    ) -> RotationSite:
        """For a rotation, under its leases. Which restart is under way is one fact for all runs: they exclude each
        other, and the next one goes on."""
        return RotationSite(
            platform=self.platform,
            secret=self.settings.messenger.keys_secret,
            settings=self.settings.rotation,
            rollout_seconds=self.settings.platform.rollout_seconds,
            stop_seconds=self.settings.platform.stop_seconds,
            clock=self.clock,
            guard=guard,
            checkpoint=RedisCheckpoint(
                self.redis, "crypto.rotate_keys", keep_days=self.settings.coordination.run_keep_days
            ),
            step=step,
            run=run,
            allow=allow,
            attempt=attempt,
        )
