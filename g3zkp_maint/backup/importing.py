"""The old scripts' artefacts, made into backups of ours: encrypted, signed, listed and restored like any other.

Each set becomes a full backup of the same time. It is read whole on the way (gzip and tar to their ends, the RDB loaded
by a real server, the YAML parsed), so what is damaged shows here and not in a restore; such a set is refused, or, when
that is asked for, becomes a partial one without the damaged part. The artefacts themselves are only read.

A killed import leaves a folder without a manifest and with `work/`, which prune sweeps; a repeated one begins that set
anew, and passes over those that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from g3zkp_maint import __version__
from g3zkp_maint import settings as settings_module
from g3zkp_maint.backup import manifest as documents
from g3zkp_maint.backup.artefacts import ArtefactSet, Part
from g3zkp_maint.backup.import_part import Imported, PartImport
from g3zkp_maint.backup.inventory import WORK
from g3zkp_maint.backup.manifest import Manifest, Outcome, Previous
from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.verify import needed
from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import ArchiveCorrupt, BackupError, ManifestInvalid, SourceError, StoreError, UnknownBackup
from g3zkp_maint.progress import NoProgress, Progress
from g3zkp_maint.stores.base import ObjectInfo, Store

NOTE = "imported from the old scripts' artefacts"


@dataclass(frozen=True)
class ImportSite:
    """What an import works with. `source` holds the artefacts, by the keys that the sets name."""

    repository: Repository
    source: Store
    settings: settings_module.Backup
    drill: settings_module.Drill
    clock: Clock
    guard: Guard
    progress: Progress = field(default_factory=NoProgress)


@dataclass(frozen=True, slots=True)
class Target:
    """The name that a set gets, or has already where `is_there`."""

    name: str
    is_there: bool


def find_target(repository: Repository, one: ArtefactSet, taken: Collection[str]) -> Target:
    """`taken` are the names of the backups that there are. Raises BackupError where all names of that time are taken."""
    names = list(one.new_names())
    for name in names:
        if name in taken and _run_of(repository, name) == one.run:
            return Target(name, is_there=True)
    for name in names:
        if name not in taken:
            return Target(name, is_there=False)
    raise BackupError(f"the names of a whole minute from {one.name} on are taken; move one of those backups away")


def import_set(
    site: ImportSite, one: ArtefactSet, name: str, taken: Collection[str], *, allow_partial: bool = False
) -> Manifest:
    """Makes the backup `name` of a set, and returns its manifest. `taken` are the names of the backups that there are.

    Raises ArchiveCorrupt where a part is missing or no copy of it is whole, unless `allow_partial`, and then where no
    part is; KeyMaterialError and ManifestInvalid before anything is stored where nobody would believe it; LeaseLost;
    what the stores raise. Then nothing of it is left in the store.
    """
    site.repository.keyring.require_trusted()
    if one.missing and not allow_partial:
        raise ArchiveCorrupt(_lacking(one, [f"{part} is missing" for part in one.missing]))
    return _Import(site, one, name, taken).carry_out(allow_partial=allow_partial)


class _Import:
    def __init__(self, site: ImportSite, one: ArtefactSet, name: str, taken: Collection[str]) -> None:
        self._site = site
        self._set = one
        self._name = name
        self._taken = taken
        self._folder = BackupName.parse(name).folder
        self._stored: list[str] = []

    def carry_out(self, *, allow_partial: bool) -> Manifest:
        repository = self._site.repository
        marker = f"{self._folder}/{WORK}import.json"
        repository.store.put(repository.full_key(marker), [documents.canonical({"run": self._set.run})])
        try:
            done, lacks = self._enough(allow_partial=allow_partial)
        except BaseException as error:
            try:
                self._forget([*self._stored, marker])
            except StoreError as other:
                error.add_note(f"what it had stored is still there, for prune to sweep: {other}")
            raise
        # From here on a manifest may be there even where the store says that it failed: nothing is taken away.
        manifest = self._commit(done, lacks)
        self._forget([marker])
        return manifest

    def _enough(self, *, allow_partial: bool) -> tuple[list[Imported], list[str]]:
        done, lacks = self._parts()
        if lacks and not (allow_partial and done):
            raise ArchiveCorrupt(_lacking(self._set, lacks))
        return done, lacks

    def _parts(self) -> tuple[list[Imported], list[str]]:
        done: list[Imported] = []
        lacks = [f"{part} is missing" for part in self._set.missing]
        for part in (part for part in Part if part in self._set.parts):
            self._site.progress.step(f"{self._set.name} {part}")
            first_id = sum(len(one.archives) for one in done)
            try:
                done.append(self._best_copy(part, first_id))
            except ArchiveCorrupt as error:
                lacks.append(str(error))
        return done, lacks

    def _best_copy(self, part: Part, first_id: int) -> Imported:
        """Of the copies, the first that is whole."""
        failures: list[str] = []
        for copy in self._set.parts[part]:
            before = len(self._stored)
            try:
                return self._read(part, copy, first_id)
            except (ArchiveCorrupt, SourceError) as error:
                failures.append(str(error))
                self._forget(self._stored[before:])
                del self._stored[before:]
        raise ArchiveCorrupt("; ".join(failures))

    def _read(self, part: Part, copy: ObjectInfo, first_id: int) -> Imported:
        site = self._site
        work = PartImport(
            repository=site.repository,
            settings=site.settings,
            drill=site.drill,
            clock=site.clock,
            progress=site.progress,
            backup=self._name,
            component=str(part),
            what=copy.key,
            first_id=first_id,
            on_stored=self._stored.append,
        )
        read: dict[Part, Callable[[Iterator[bytes]], Imported]] = {
            Part.IPFS: work.files,
            Part.KEYS: work.files,
            Part.REDIS: work.redis,
            Part.K8S: work.objects,
        }
        return read[part](site.source.get(copy.key))

    def _commit(self, done: list[Imported], lacks: list[str]) -> Manifest:
        repository, guard = self._site.repository, self._site.guard
        manifest = self._manifest(done, lacks)
        for found in needed(manifest):
            repository.head(found)
        guard.verify()
        guard.ensure_held()
        made = repository.commit(manifest)
        if made.run != self._set.run:
            raise BackupError(f"another run took the name {self._name} just now; import again")
        return made

    def _manifest(self, done: list[Imported], lacks: list[str]) -> Manifest:
        was = [f"its name there was {self._set.name}"] if str(self._set.name) != self._name else []
        return Manifest(
            product=__version__,
            name=self._name,
            type=BackupType.FULL,
            outcome=Outcome.PARTIAL if lacks else Outcome.OK,
            run=self._set.run,
            parent=None,
            previous=self._previous(),
            planned_at=self._set.name.at,
            sealed_at=self._site.clock.now(),
            components=tuple(one.component for one in done),
            archives=tuple(archive for one in done for archive in one.archives),
            recipients=tuple(str(one) for one in self._site.repository.keyring.recipients),
            notes=(NOTE, *was, *(f"lacks: {what}" for what in lacks)),
        )

    def _previous(self) -> Previous | None:
        """The newest valid backup from before this one, so that imported ones hold each other in a chain as well."""
        own, repository = BackupName.parse(self._name), self._site.repository
        for name in sorted(map(BackupName.parse, self._taken), reverse=True):
            if name < own and _run_of(repository, str(name)) is not None:
                return Previous(name=str(name), sha256=documents.digest(repository.raw_manifest(str(name))))
        return None

    def _forget(self, keys: list[str]) -> None:
        """Takes away what this import stored itself, and nobody knows of yet."""
        repository = self._site.repository
        repository.store.delete([repository.full_key(key) for key in keys])


def _lacking(one: ArtefactSet, lacks: list[str]) -> str:
    return (
        f"{one.name} is no complete set: {'; '.join(lacks)}. Nothing of it was imported; complete it, or take what there "
        "is of it with --partial"
    )


def _run_of(repository: Repository, name: str) -> str | None:
    try:
        return repository.manifest(name).run
    except (UnknownBackup, ManifestInvalid):
        return None
