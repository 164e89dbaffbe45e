"""Restore: step by step, each journaled, each repeatable, so that a restore that was killed goes on where it was.

Nothing is touched before all that is needed was read and found whole, and a safety backup was taken. From then on the
messenger stays down until its data is whole again: a failure before that point starts it again as it was, a later one
leaves it down, and says so with the one command that goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from g3zkp_maint import settings as settings_module
from g3zkp_maint.backup.manifest import Archive, Component, Index, Manifest
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.object_plan import Outcome, replicas_of
from g3zkp_maint.backup.object_reports import ObjectReports, counted
from g3zkp_maint.backup.object_restore import read_objects, restore_objects
from g3zkp_maint.backup.objects import Document
from g3zkp_maint.backup.one_object import object_size, read_object
from g3zkp_maint.backup.places import HELPERS, check_helpers, files_source, files_target, is_there
from g3zkp_maint.backup.redis_dump import checked
from g3zkp_maint.backup.redis_restore import DumpSource, RedisRestore, read_layout
from g3zkp_maint.backup.redis_volume import RedisLayout
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.request import BackupRequest, Workshop
from g3zkp_maint.backup.restore_plan import MESSENGER_TARGET, SAFETY_PREFIX, RestorePlan, declared_names, held_down
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.backup.selection import Selection
from g3zkp_maint.backup.target import Target
from g3zkp_maint.backup.unpack import Unpacker
from g3zkp_maint.backup.verify import check_all, needed
from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.checkpoint import Checkpoint, MemoryCheckpoint
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.coordination.journal import Step
from g3zkp_maint.errors import (
    LeaseLost,
    MaintenanceError,
    RestoreError,
    RestoreInterrupted,
    SourceError,
    TemporaryError,
)
from g3zkp_maint.health.check import await_healthy
from g3zkp_maint.platforms.base import MESSENGER, REDIS, Platform
from g3zkp_maint.progress import NoProgress, Progress

#: Steps up to here leave the data as it was.
_HARMLESS = ("check", "safety", "stop")
#: How long a service may take to lead to instances that have just become ready.
_HEALTH_SECONDS = 30


@dataclass(frozen=True)
class RestoreSite:
    """What a restore works with. `outage` is shared by all restores: how many instances there were before the first of
    them took the messenger down. `step` opens a step in the journal; `workers` archives are read at a time."""

    repository: Repository
    settings: settings_module.Settings
    platform: Platform
    clock: Clock
    guard: Guard
    checkpoint: Checkpoint
    step: Callable[[str], AbstractContextManager[Step]]
    progress: Progress = field(default_factory=NoProgress)
    outage: Checkpoint = field(default_factory=MemoryCheckpoint)
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has done, in all its attempts. `objects` counts created, changed, same and refused ones of the
    cluster, and lists all but the same ones, by name and reason; None where they were no part of it.

    `safety` is the backup of what was there before, None where there was nothing to save."""

    backup: str
    target: str
    components: tuple[str, ...]
    paths: tuple[str, ...]
    written: int
    kept: int
    removed: int
    owners_not_set: int
    redis_keys: int | None
    objects: dict[str, Any] | None
    safety: str | None

    @property
    def outcome(self) -> str:
        """`partial` where the cluster refused objects: all else is as in the backup."""
        return _outcome(self.objects)

    def as_dict(self) -> dict[str, Any]:
        return {"outcome": self.outcome, **{name: getattr(self, name) for name in self.__slots__}}


def restore(site: RestoreSite, plan: RestorePlan, manifest: Manifest, *, run: str) -> Restored:
    """Carries the plan out, from the first step that is not done yet. `run` is the same at each repetition.

    Raises RestoreError, which says what state the messenger is in and how to go on; RestoreInterrupted, which says the
    same, where the cause may pass; LeaseLost, when another took over.
    """
    return _Restore(site, plan, manifest, run).carry_out()


def _outcome(objects: Mapping[str, Any] | None) -> str:
    return "partial" if objects is not None and objects["refused"] else "ok"


class _Restore:
    def __init__(self, site: RestoreSite, plan: RestorePlan, manifest: Manifest, run: str) -> None:
        self._site = site
        self._plan = plan
        self._manifest = manifest
        self._run = run
        self._facts = site.checkpoint.load()

    def carry_out(self) -> Restored:
        for name in self._plan.steps:
            if name in self._done:
                continue
            self._site.guard.verify()
            self._site.progress.step(name)
            try:
                with self._site.step(name) as step:
                    if self._plan.target == MESSENGER_TARGET:
                        # Of a former attempt, wherever that was: it has not got the leases any more.
                        self._site.platform.sweep_helpers(forsaken=HELPERS)
                    getattr(self, f"_{name}")(step)
            except LeaseLost:
                raise
            except (MaintenanceError, OSError) as error:
                raise self._stopped(name, error) from error
            self._save(done=[*self._done, name])
        for found in self._wanted():
            self._site.repository.release(found)
        return self._result()

    @property
    def _done(self) -> list[str]:
        return list(self._facts.get("done", []))

    def _save(self, **facts: Any) -> None:
        self._site.checkpoint.save(**facts)
        self._facts.update(facts)

    def _result(self) -> Restored:
        facts = self._facts
        return Restored(
            backup=self._plan.backup,
            target=self._plan.target,
            components=self._plan.components,
            paths=self._plan.paths,
            written=facts.get("written", 0),
            kept=facts.get("kept", 0),
            removed=facts.get("removed", 0),
            owners_not_set=facts.get("owners_not_set", 0),
            redis_keys=facts.get("redis_keys"),
            objects=facts.get("objects"),
            safety=facts.get("safety"),
        )

    # -- the steps -----------------------------------------------------------------------------------------------------

    def _check(self, step: Step) -> None:
        """Every byte that will be needed is read once before anything is touched; and is there what will be filled?"""
        self._require_workloads()
        check_helpers(self._site.settings, self._site.platform, self._plan)
        step.bytes = check_all(self._site.repository, self._wanted(), self._site.progress, workers=self._site.workers)

    def _wanted(self) -> Iterator[Archive | Index]:
        archives = None if self._plan.archives is None else frozenset(self._plan.archives)
        return needed(self._manifest, frozenset(self._plan.components), archives)

    def _safety(self, step: Step) -> None:
        backup = self._site.settings.backup
        components = [c for c in backup.components if c.name in self._plan.components and self._is_there(c)]
        if not components:
            step.note(safety="nothing to save")
            return
        request = BackupRequest(BackupType.INCREMENTAL, f"{SAFETY_PREFIX}{self._run}", self._safety_time())
        with files_source(self._site.settings, self._site.platform) as source:
            workshop = Workshop(
                self._site.repository,
                backup.model_copy(update={"components": tuple(components)}),
                self._site.clock,
                self._site.guard,
                self._site.platform,
                self._site.progress,
                source,
            )
            manifest = back_up(workshop, request)
        step.note(safety=manifest.name)
        self._save(safety=manifest.name)

    def _safety_time(self) -> Any:
        """The same at a repetition, or a killed safety backup would be begun again under another name."""
        if "safety_at" not in self._facts:
            self._save(safety_at=self._site.clock.now().isoformat())
        return self._site.clock.now().fromisoformat(self._facts["safety_at"])

    def _is_there(self, component: settings_module.Component) -> bool:
        if component.kind == "kubernetes":
            return True
        if component.kind == "redis":
            return any(workload.ready for workload in self._site.platform.workloads() if workload.name == REDIS)
        if self._site.settings.backup.source == "exec" and MESSENGER not in self._there():
            return False  # no workload, no volume that a helper could have
        return is_there(self._site.settings, self._site.platform, component.path or "")

    def _stop(self, step: Step) -> None:
        """The replicas are on record before the first is taken away."""
        there = self._there()
        if "replicas" not in self._facts:
            self._save(replicas=self._replicas_before(there))
        if "redis" in self._plan.steps and "redis_layout" not in self._facts:
            self._save(redis_layout=self._redis_layout())
        step.note(replicas=self._replicas(MESSENGER))
        if MESSENGER not in there:
            return
        self._site.platform.scale(MESSENGER, 0)
        self._site.platform.wait_scaled(MESSENGER, self._site.settings.platform.stop_seconds)
        # By now a quota has room for them, or never will.
        check_helpers(self._site.settings, self._site.platform, self._plan)

    def _there(self) -> dict[str, int]:
        """Of the workloads that a restore deals with those that are there, and how many instances they shall have."""
        return {w.name: w.desired for w in self._site.platform.workloads() if w.name in {MESSENGER, REDIS}}

    def _replicas_before(self, there: dict[str, int]) -> dict[str, int]:
        """As they are; of what is not there as the backup has them; or, where an earlier restore took the messenger down
        and never came to its end, as that one found them."""
        names = declared_names(self._site.settings.platform)
        declared = replicas_of(self._documents(), names.values())
        now = {**{name: declared[found] for name, found in names.items() if found in declared}, **there}
        found = {**now, **(self._site.outage.load().get("replicas") or {})} if not now.get(MESSENGER) else now
        self._site.outage.save(replicas=found)
        return found

    def _redis_layout(self) -> dict[str, Any] | None:
        try:
            return read_layout(self._redis_url()).as_facts()
        except SourceError:
            return None

    def _objects(self, step: Step) -> None:
        """Workloads whose data comes after are made with no instance; what changes of the others is waited for."""
        down, names = held_down(self._plan), declared_names(self._site.settings.platform)
        reports = restore_objects(
            self._site.platform,
            self._documents(),
            ensure_held=self._site.guard.ensure_held,
            held_down=[names[name] for name in down],
            reports=ObjectReports(self._site.checkpoint),
        )
        for name in self._there():
            if name not in down:
                self._site.platform.wait_scaled(name, self._site.settings.platform.rollout_seconds)
        found = counted(reports)
        step.outcome = _outcome(found)
        step.note(**{str(outcome): found[outcome] for outcome in Outcome})
        self._save(objects=found)

    def _files(self, step: Step) -> None:
        with files_target(self._site.settings, self._site.platform, self._plan.target) as target:
            totals = self._unpack(target)
            # Before this counts as done it must survive the machine.
            target.settle()
        step.note(**totals)
        self._save(**totals)

    def _unpack(self, target: Target) -> dict[str, int]:
        totals = {"written": 0, "kept": 0, "removed": 0, "owners_not_set": 0}
        unpacker = Unpacker(
            self._site.repository, target, self._site.guard, self._site.progress, workers=self._site.workers
        )
        selection = Selection(self._plan.paths) if self._plan.paths else None
        for name in self._plan.components:
            if self._manifest.component(name).kind != "files":
                continue
            done = unpacker.unpack(self._manifest, name, selection)
            for key in totals:
                totals[key] += getattr(done, key)
        return totals

    def _redis(self, step: Step) -> None:
        component, platform = self._redis_component(), self._site.settings.platform
        layout = self._facts.get("redis_layout")
        restore = RedisRestore(
            self._site.platform,
            self._site.clock,
            self._site.guard,
            self._redis_url(),
            str(self._site.settings.backup.redis_data),
            self._run,
            stop_seconds=platform.stop_seconds,
            start_seconds=platform.rollout_seconds,
            remember=lambda found: self._save(redis_layout=found.as_facts()),
        )
        dump = DumpSource(
            lambda: checked(read_object(self._site.repository, self._manifest, component.name)),
            object_size(self._manifest, component.name),
            keys=int(component.facts["keys"]),
            expiring=int(component.facts["expiring"]),
        )
        keys = restore.carry_out(
            dump, RedisLayout(**layout) if layout else None, replicas=max(self._replicas(REDIS), 1)
        )
        step.note(keys=keys)
        self._save(redis_keys=keys)

    def _start(self, step: Step) -> None:
        replicas = self._replicas(MESSENGER)
        step.note(replicas=replicas)
        self._site.platform.scale(MESSENGER, replicas)
        self._site.platform.wait_scaled(MESSENGER, self._site.settings.platform.rollout_seconds)
        self._site.outage.save(replicas=None)

    def _health(self, step: Step) -> None:
        if not self._replicas(MESSENGER):
            step.note(skipped="the messenger was down before, and stays so")
            return
        report = await_healthy(
            self._site.platform.health_url(), deadline_seconds=_HEALTH_SECONDS, clock=self._site.clock
        )
        if not report.is_healthy:
            raise RestoreError(f"the messenger is not healthy after the restore: {'; '.join(report.problems)}")

    # -- what they need ------------------------------------------------------------------------------------------------

    def _replicas(self, workload: str) -> int:
        found = self._facts["replicas"] if "replicas" in self._facts else self._there()
        return int(found.get(workload, 0))

    def _documents(self) -> list[Document]:
        """The cluster's objects that are to be restored; none where they are no part of it."""
        names = [name for name in self._plan.components if self._manifest.component(name).kind == "kubernetes"]
        return [one for name in names for one in read_objects(self._site.repository, self._manifest, name)]

    def _require_workloads(self) -> None:
        if self._plan.target != MESSENGER_TARGET or "objects" in self._plan.steps:
            return
        missing = sorted(held_down(self._plan) - set(self._there()))
        if missing:
            raise RestoreError(
                f"there is no {' and no '.join(missing)} to restore the data of; restore the cluster's objects with it "
                "(name all components: --component k8s --component …)"
            )

    def _redis_component(self) -> Component:
        for component in self._manifest.components:
            if component.kind == "redis":
                return component
        raise RestoreError(f"{self._plan.backup} holds no Redis dump; choose other components")

    def _redis_url(self) -> str:
        url = self._site.settings.backup.redis_url
        if url is None:
            raise SourceError("backup.redis_url is not set: the messenger's Redis cannot be asked")
        return url.get_secret_value()

    # -- when it stops -------------------------------------------------------------------------------------------------

    def _stopped(self, name: str, error: Exception) -> RestoreError | RestoreInterrupted:
        state = self._start_again() if name in _HARMLESS and self._plan.target == MESSENGER_TARGET else self._state()
        message = f"the restore of {self._plan.backup} stopped at step {name!r}: {error}. {state} {self._go_on()}"
        if isinstance(error, TemporaryError):
            return RestoreInterrupted(message, retry_after_seconds=error.retry_after_seconds)
        return RestoreError(message)

    def _start_again(self) -> str:
        if not self._facts.get("replicas"):
            return "Nothing was touched; the messenger runs as before."
        try:
            self._site.platform.scale(MESSENGER, self._replicas(MESSENGER))
        except MaintenanceError as error:
            return f"Its data was not touched, but starting the messenger again failed: {error}."
        return f"Its data was not touched; the messenger was set back to {self._replicas(MESSENGER)} instances."

    def _state(self) -> str:
        if self._plan.target != MESSENGER_TARGET:
            return f"The files in {self._plan.target} are incomplete."
        safety = self._facts.get("safety")
        before = f" What was there before is in the backup {safety}." if safety else ""
        is_up = "stop" not in self._plan.steps or "start" in self._done
        down = "" if is_up else " The messenger is down, and must stay down until its data is whole."
        return f"{down}{before}".strip()

    def _go_on(self) -> str:
        if self._plan.target != MESSENGER_TARGET:
            return f"Go on with: g3zkp-maint backup restore {self._plan.backup} --to {self._plan.target}"
        return f"Go on with: g3zkp-maint backup restore {self._plan.backup} --resume {self._run}"
