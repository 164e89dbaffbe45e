"""The first step: find the parent, walk the trees, and store the plan that all further steps follow.

Safe at every line: all that it writes goes under a folder of its own, and `work/plan.json`, written last and only if
absent, makes it count. Of two that prepare the same run, one wins and both go on with the winner's plan.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from pydantic import ValidationError

from g3zkp_maint import __version__
from g3zkp_maint import settings as settings_module
from g3zkp_maint.backup import manifest as manifests
from g3zkp_maint.backup.manifest import Manifest, Outcome, Previous
from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.backup.plan import (
    BackupPlan,
    Decision,
    Kept,
    PlannedComponent,
    Shard,
    ShardCutter,
    StoredList,
    Tally,
    compare,
)
from g3zkp_maint.backup.repository import Repository, read_small
from g3zkp_maint.backup.request import BackupRequest, Workshop
from g3zkp_maint.backup.restore_plan import SAFETY_PREFIX
from g3zkp_maint.backup.row import LineBuffer, Row
from g3zkp_maint.backup.verify import check_stored
from g3zkp_maint.errors import ArchiveCorrupt, BackupError, ManifestInvalid, ObjectExists, ObjectMissing, UnknownBackup
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.progress import NoProgress

#: Runs that start in the same second take the following seconds for their names.
_NAMES_TRIED = 60


@dataclass(frozen=True, slots=True)
class Parent:
    """The backup that an incremental builds on (None: it becomes a full), why others were passed over, and the newest
    backup of all, which the new manifest points to."""

    manifest: Manifest | None
    previous: Previous | None
    notes: tuple[str, ...]


def prepare(workshop: Workshop, request: BackupRequest) -> BackupPlan | Manifest:
    """The plan of this run: a stored one where an earlier attempt got so far, else a new one.

    Returns the manifest instead where the run's backup already exists. Raises SourceError, StoreError, ExecFailed of a
    pre-command, KeyMaterialError, LeaseLost.
    """
    workshop.repository.keyring.require_trusted()
    found = _place(workshop.repository, request)
    if not isinstance(found, datetime):
        return found
    workshop.progress.step("plan")
    _run_commands(workshop, "pre")
    parent = choose_parent(workshop.repository, request.type)
    # Looked for again, in the same look as the free name: another attempt at this run may have come so far meanwhile.
    at = _place(workshop.repository, request)
    if not isinstance(at, datetime):
        return at
    plan = _Planner(workshop, request, parent, at).plan()
    return _claim(workshop, plan, request)


def run_post_commands(workshop: Workshop) -> None:
    """Runs the post-commands of all components, also after a failed backup. Raises the first ExecFailed, after all ran."""
    _run_commands(workshop, "post")


def _run_commands(workshop: Workshop, which: str) -> None:
    failed: list[Exception] = []
    for component in workshop.settings.components:
        for argv in component.pre if which == "pre" else component.post:
            if workshop.platform is None:
                raise BackupError(f"component {component.name} has {which}-commands, which need a platform; set one")
            try:
                workshop.platform.exec(MESSENGER, argv).read_all()
            except Exception as error:
                if which == "pre":
                    raise
                failed.append(error)
    if failed:
        raise failed[0]


# -- which backup is this -----------------------------------------------------------------------------------------------


def _candidates(request: BackupRequest) -> Iterator[tuple[BackupName, BackupName]]:
    """The names that a run may have, the full's and the incremental's, second by second."""
    start = request.at.replace(microsecond=0)
    for second in range(_NAMES_TRIED):
        at = start + timedelta(seconds=second)
        yield BackupName(at, BackupType.FULL), BackupName(at, BackupType.INCREMENTAL)


def _place(repository: Repository, request: BackupRequest) -> BackupPlan | Manifest | datetime:
    """What an earlier attempt at this run has left; else the first time whose names no other run has."""
    for names in _candidates(request):
        there = [found for name in names if (found := _at(repository, name)) is not None]
        if not there:
            return names[0].at
        for found in there:
            if found.run == request.run:
                return found
    raise BackupError(f"{_NAMES_TRIED} backups of other runs have the names from {request.at} on; give another time")


def _at(repository: Repository, name: BackupName) -> BackupPlan | Manifest | None:
    try:
        return repository.manifest(str(name))
    except UnknownBackup:
        return stored_plan(repository, str(name))


def plan_key(name: str) -> str:
    return f"{BackupName.parse(name).folder}/work/plan.json"


def stored_plan(repository: Repository, name: str) -> BackupPlan | None:
    """The plan of a backup under way, or None."""
    key = repository.full_key(plan_key(name))
    try:
        document, _ = manifests.believed(read_small(repository.store, key), repository.keyring, key)
        plan = BackupPlan.model_validate(document)
    except ObjectMissing:
        return None
    except (ManifestInvalid, ValidationError) as error:
        raise BackupError(
            f"{key} is damaged, not ours, or another version's ({type(error).__name__}); delete it and start the backup again"
        ) from None
    if plan.name != name:
        raise BackupError(f"{key} is the plan of {plan.name}; the two were swapped in the store: delete it")
    return plan


def _claim(workshop: Workshop, plan: BackupPlan, request: BackupRequest) -> BackupPlan | Manifest:
    repository = workshop.repository
    workshop.guard.ensure_held()
    try:
        # Signed, as what it leads to will be: whoever can write the store must not decide what a fleet signs.
        raw = manifests.signed_document(plan.model_dump(mode="json"), repository.keyring)
        repository.store.put(repository.full_key(plan_key(plan.name)), [raw], if_absent=True)
    except ObjectExists:
        found = _place(repository, request)
        if isinstance(found, datetime):
            raise BackupError(f"another run took the name {plan.name} just now; run again") from None
        return found
    return plan


# -- the parent ---------------------------------------------------------------------------------------------------------


def choose_parent(repository: Repository, type: BackupType) -> Parent:
    """The newest backup that is whole, signed and of outcome ok. Each one passed over leaves a note."""
    previous: Previous | None = None
    notes: list[str] = []
    for found in repository.manifests():
        if isinstance(found, ManifestInvalid):
            notes.append(f"passed over: {found}")
            continue
        if previous is None:
            previous = Previous(name=found.name, sha256=manifests.digest(repository.raw_manifest(found.name)))
        if type is BackupType.FULL:
            return Parent(None, previous, tuple(notes))
        why = _unfit(repository, found)
        if why is None:
            return Parent(found, previous, tuple(notes))
        notes.append(why)
    if type is BackupType.INCREMENTAL:
        notes.append("there is no valid backup to build on, so this incremental became a full")
    return Parent(None, previous, tuple(notes))


def _unfit(repository: Repository, manifest: Manifest) -> str | None:
    if manifest.outcome is not Outcome.OK:
        return f"passed over as parent: {manifest.name} is {manifest.outcome}"
    if manifest.run.startswith(SAFETY_PREFIX):
        return f"passed over as parent: {manifest.name} was taken before a restore"
    try:
        for archive in manifest.archives:
            repository.head(archive)
        for component in manifest.components:
            if component.index is not None:
                repository.head(component.index)
                check_stored(repository, component.index, NoProgress())
                next(repository.read_list(component.index.key), None)
    except ArchiveCorrupt as error:
        return f"passed over as parent: {manifest.name}: {error}"
    return None


# -- the plan -----------------------------------------------------------------------------------------------------------


class _Planner:
    """Walks the components and stores their lists as it goes."""

    def __init__(self, workshop: Workshop, request: BackupRequest, parent: Parent, at: datetime) -> None:
        self.workshop = workshop
        self._repository = workshop.repository
        self._parent = parent
        made = request.type if parent.manifest is not None else BackupType.FULL
        self._request = request
        self._name = BackupName(at, made)
        self._work = f"{self._name.folder}/work/{secrets.token_hex(8)}"
        self._carried = parent.manifest.archives if parent.manifest else ()
        self._next_id = 1 + max((archive.id for archive in self._carried), default=-1)
        self._shards: list[Shard] = []

    def plan(self) -> BackupPlan:
        planned_at = self.workshop.clock.now()
        components = tuple(self._component(component) for component in self.workshop.settings.components)
        return BackupPlan(
            product=__version__,
            name=str(self._name),
            run=self._request.run,
            asked=self._request.type,
            parent=self._parent.manifest.name if self._parent.manifest else None,
            previous=self._parent.previous,
            planned_at=planned_at,
            work=self._work,
            components=components,
            shards=tuple(self._shards),
            carried=self._carried,
            notes=self._parent.notes,
        )

    def _component(self, component: settings_module.Component) -> PlannedComponent:
        if component.kind != "files" or component.path is None:
            archive = f"{component.name}.{'rdb' if component.kind == 'redis' else 'yaml'}"
            self._add_shard(archive, component, entries=1)
            return PlannedComponent(name=component.name, kind=component.kind)
        walk = _Walk(self, component, component.path)
        order_key = f"{self._work}/{component.name}.order.zst.age"
        stored = self._repository.put_list(order_key, walk.order())
        return PlannedComponent(
            name=component.name,
            kind=component.kind,
            path=component.path,
            order=StoredList(key=order_key, sha256=stored.digest),
            kept=walk.tally.counts(),
            kept_archives=tuple(sorted(walk.tally.archives)),
        )

    def before(self, component: str) -> Iterator[tuple[Row, bytes]]:
        if self._parent.manifest is None:
            return iter(())
        return self._repository.rows_raw(self._parent.manifest, component)

    def put_shard(self, component: settings_module.Component, number: int, lines: list[bytes]) -> None:
        archive = f"{component.name}.{number:03d}"
        list_key = f"{self._work}/{archive}.list.zst.age"
        self.workshop.guard.ensure_held()
        stored = self._repository.put_list(list_key, [b"".join([line + b"\n" for line in lines])])
        worklist = StoredList(key=list_key, sha256=stored.digest)
        self._add_shard(archive, component, entries=len(lines), worklist=worklist)

    def _add_shard(
        self,
        archive: str,
        component: settings_module.Component,
        *,
        entries: int,
        worklist: StoredList | None = None,
    ) -> None:
        self._shards.append(
            Shard(
                archive=archive,
                id=self._next_id,
                component=component.name,
                kind=component.kind,
                entries=entries,
                worklist=worklist,
            )
        )
        self._next_id += 1


class _Walk:
    """One component's walk: yields its order list, and stores each shard's list when it is full.

    The order list is the new index with holes: lines of rows that are kept, and numbers, each for so many rows that the
    shards will deliver, in the same order. Sealing fills the holes without sorting or comparing.
    """

    def __init__(self, planner: _Planner, component: settings_module.Component, path: str) -> None:
        self._planner = planner
        self._component = component
        self._path = path
        settings = planner.workshop.settings
        self._cutter = ShardCutter(settings.shard_bytes, settings.shard_file_weight)
        self._shards = 0
        self.tally = Tally()

    def order(self) -> Iterator[bytes]:
        buffer, holes = LineBuffer(), 0
        for decision in self._decisions():
            if isinstance(decision, Kept):
                self.tally.add(decision.row)
                if holes:
                    buffer.add(b"%d" % holes)
                    holes = 0
                if chunk := buffer.add(decision.line):
                    yield chunk
            else:
                holes += 1
                self._store(self._cutter.add(decision.row))
        self._store(self._cutter.close())
        if holes:
            buffer.add(b"%d" % holes)
        self._planner.workshop.guard.ensure_held()
        yield buffer.flush()

    def _decisions(self) -> Iterator[Decision]:
        current = self._planner.workshop.files.scan(self._path)
        return compare(current, self._planner.before(self._component.name), is_immutable=self._is_immutable)

    def _is_immutable(self, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self._component.immutable)

    def _store(self, lines: list[bytes] | None) -> None:
        if lines is None:
            return
        self._planner.put_shard(self._component, self._shards, lines)
        self._shards += 1
