"""A drill: a backup restored for proof, into a scratch folder, and everything about it looked at.

- Each folder of files is restored, and then read again by itself and compared with the index (drill_files.py).
- The Redis dump is loaded by a real server (drill_redis.py), and the keys counted.
- The cluster's objects are parsed, and what they refer to is looked for among them (drill_objects.py).
- What Redis keys refer to, as `drill.references` says, is looked for among the files.

A check that fails ends nothing: all are made, and the evidence tells of each. The messenger is not touched. What is only
a matter of this place (no room, no server, a key that is lacking) is an error, and no evidence of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from g3zkp_maint import __version__
from g3zkp_maint import settings as settings_module
from g3zkp_maint.backup import manifest as documents
from g3zkp_maint.backup.drill_files import compare
from g3zkp_maint.backup.drill_objects import parse
from g3zkp_maint.backup.evidence import Check, Evidence, keep
from g3zkp_maint.backup.manifest import Component, Manifest
from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.one_object import read_object
from g3zkp_maint.backup.redis_dump import checked
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row
from g3zkp_maint.backup.scratch import require_room, scratch_folder
from g3zkp_maint.backup.unpack import Unpacker
from g3zkp_maint.backup.verify import check_stored, needed
from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.coordination.journal import Step
from g3zkp_maint.errors import ArchiveCorrupt, DrillFailed, ManifestInvalid, RestoreError, SourceError
from g3zkp_maint.progress import NoProgress, Progress


@dataclass(frozen=True)
class DrillSite:
    """What a drill works with. `workers` archives are extracted at a time."""

    repository: Repository
    settings: settings_module.Drill
    clock: Clock
    guard: Guard
    step: Callable[[str], AbstractContextManager[Step]]
    progress: Progress = field(default_factory=NoProgress)
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Drilled:
    """The evidence, its key in the store, and for whoever sits at a terminal, the first of the paths that differ."""

    evidence: Evidence
    key: str
    paths: tuple[str, ...]


def drill(site: DrillSite, name: str, *, run: str) -> Drilled:
    """Drills the backup `name`, and keeps the evidence whatever it says; `require_passed` makes an error of it.

    Raises UnknownBackup, ManifestInvalid, KeyMaterialError (it needs the recovery identity and a signing key),
    DrillFailed where it cannot be carried out here, TemporaryError while another is in the scratch folder, LeaseLost.
    """
    raw = site.repository.raw_manifest(name)
    manifest = documents.load(raw, site.repository.keyring, name=name)
    site.repository.keyring.archive_identities()
    site.repository.keyring.sign(raw)  # now, and not after hours of work
    with scratch_folder(site.settings.scratch) as folder:
        work = _Drill(site, manifest, folder)
        work.carry_out()
        evidence = work.evidence(run=run, digest=documents.digest(raw))
        site.guard.verify()
        return Drilled(evidence, keep(site.repository, evidence), tuple(work.paths))


def require_passed(drilled: Drilled) -> None:
    """Raises DrillFailed with the checks that failed."""
    failed = drilled.evidence.failed
    if failed:
        raise DrillFailed(
            f"the drill of {drilled.evidence.backup} failed: {'; '.join(map(str, failed))}. Its evidence is "
            f"{drilled.key}. Do not rely on this backup: verify it in full, and take a full backup now"
        )


class _Drill:
    def __init__(self, site: DrillSite, manifest: Manifest, folder: Path) -> None:
        self._site = site
        self._manifest = manifest
        self._folder = folder
        self._at = site.clock.now()
        self._recovery_seconds = 0.0
        self._checks: list[Check] = []
        self._entries = 0
        self._bytes = 0
        self.paths: list[str] = []

    def carry_out(self) -> None:
        self._require_room()
        make = {"files": self._files, "redis": self._redis, "kubernetes": self._objects}
        for component in self._manifest.components:
            self._site.guard.verify()
            name = f"{component.kind}:{component.name}"
            self._site.progress.step(name)
            with self._site.step(name) as step:
                check = self._checked(name, component, make[component.kind], step)
                step.outcome = "ok" if check.passed else "failed"
                step.note(**check.counts)
            self._checks.append(check)

    def evidence(self, *, run: str, digest: str) -> Evidence:
        return Evidence(
            product=__version__,
            backup=self._manifest.name,
            manifest_sha256=digest,
            run=run,
            drilled_at=self._at,
            outcome="ok" if all(check.passed for check in self._checks) else "failed",
            recovery_ms=round(self._recovery_seconds * 1000),
            recovery_point_seconds=round((self._at - self._manifest.planned_at).total_seconds()),
            entries=self._entries,
            bytes=self._bytes,
            checks=tuple(self._checks),
        )

    def _require_room(self) -> None:
        counts = [component.counts for component in self._manifest.components]
        size, files = sum(count.bytes for count in counts), sum(count.entries for count in counts)
        require_room(self._folder, size=size, files=files)

    def _checked(self, name: str, component: Component, make: Callable[[Component, Step], Check], step: Step) -> Check:
        """The check; one that cannot even be made, as the backup is damaged, has failed."""
        try:
            return make(component, step)
        except (ArchiveCorrupt, ManifestInvalid, SourceError) as error:
            self.paths.append(f"{name}: {error}")
            damaged = list(self._damaged(component))
            counts: dict[str, int | str] = {"damaged objects": len(damaged), "error": error.code}
            return Check(name=name, passed=False, counts=counts | dict.fromkeys(damaged[:10], "damaged"))

    def _damaged(self, component: Component) -> Iterator[str]:
        """The objects whose stored bytes are not the manifest's: an error may come from anywhere behind them."""
        repository = self._site.repository
        for one in needed(self._manifest, frozenset({component.name})):
            try:
                repository.head(one)
                check_stored(repository, one, NoProgress())
            except ArchiveCorrupt:
                yield one.key

    # -- the checks ----------------------------------------------------------------------------------------------------

    def _files(self, component: Component, step: Step) -> Check:
        root = self._folder / "files"
        site = self._site
        begun = site.clock.monotonic()
        unpacker = Unpacker(site.repository, MountedTarget(root), site.guard, site.progress, workers=site.workers)
        try:
            unpacker.unpack(self._manifest, component.name)
        except RestoreError as error:
            raise DrillFailed(f"the drill of {self._manifest.name} stopped: {error}") from error
        self._recovery_seconds += site.clock.monotonic() - begun
        read: set[int] = set()
        rows = _noting(site.repository.rows(self._manifest, component.name), read)
        found = compare(root, component.path or "", rows, progress=site.progress)
        self._check_unread(component, read)
        self._entries += found.entries
        self._bytes += found.bytes
        step.bytes = found.bytes
        self.paths.extend(found.paths)
        counts: dict[str, int | str] = {"entries": found.entries, "bytes": found.bytes, **found.differences}
        return Check(name=f"files:{component.name}", passed=not found.differences, counts=counts)

    def _check_unread(self, component: Component, read: set[int]) -> None:
        """Archives without content (of links alone) are not read by our restores, and are by `tar`."""
        for archive in self._manifest.archives:
            if archive.component == component.name and archive.id not in read:
                check_stored(self._site.repository, archive, NoProgress())

    def _redis(self, component: Component, step: Step) -> Check:
        # Backups of files alone do not pay for Redis's client.
        from g3zkp_maint.backup import drill_redis  # noqa: PLC0415

        site, folder = self._site, self._folder / component.name
        programs = drill_redis.server_programs(site.settings.redis_server)
        folder.mkdir(mode=0o700)
        begun = site.clock.monotonic()
        size = _write(folder / drill_redis.DUMP, checked(read_object(site.repository, self._manifest, component.name)))
        deadline_seconds = site.settings.redis_seconds
        with drill_redis.loaded_by_any(programs, folder, clock=site.clock, deadline_seconds=deadline_seconds) as client:
            self._recovery_seconds += site.clock.monotonic() - begun
            found = drill_redis.look(client)
            missing = [self._missing(client, reference) for reference in site.settings.references]
        self._entries += found.keys
        step.bytes = size
        self._bytes += size
        keys, expiring = (int(component.facts.get(name, 0)) for name in ("keys", "expiring"))
        counts: dict[str, int | str] = {"keys": found.keys, "in the backup": keys, "may expire": expiring}
        for reference, count in zip(site.settings.references, missing, strict=True):
            counts[f"{reference.keys} refer to nothing"] = count
        are_whole = all(
            count <= reference.may_miss for reference, count in zip(site.settings.references, missing, strict=True)
        )
        return Check(
            name=f"redis:{component.name}",
            passed=found.is_right(keys=keys, expiring=expiring) and are_whole,
            counts=counts | {"server": found.server},
        )

    def _missing(self, client: object, reference: settings_module.Reference) -> int:
        """How many values of this reference stand for no file of the backup."""
        from g3zkp_maint.backup import drill_redis  # noqa: PLC0415

        wanted = set(drill_redis.referred(client, reference))  # type: ignore[arg-type]
        pattern = drill_redis.file_pattern(reference)
        for component in self._manifest.components:
            if wanted and component.index is not None:
                for row in self._site.repository.rows(self._manifest, component.name):
                    match = pattern.fullmatch(row.path)
                    if match:
                        wanted.discard(match[1])
        first = (reference.file.replace("{}", value) for value in sorted(wanted)[:10])
        self.paths.extend(f"{path}: referred to by Redis" for path in first)
        return len(wanted)

    def _objects(self, component: Component, step: Step) -> Check:
        begun = self._site.clock.monotonic()
        text = b"".join(read_object(self._site.repository, self._manifest, component.name))
        found = parse(text)
        self._recovery_seconds += self._site.clock.monotonic() - begun
        step.bytes = len(text)
        self._entries += found.objects
        self._bytes += len(text)
        wanted = int(component.facts.get("objects", found.objects))
        counts: dict[str, int | str] = {"objects": found.objects, "in the backup": wanted, **found.faults}
        return Check(
            name=f"kubernetes:{component.name}", passed=not found.faults and found.objects == wanted, counts=counts
        )


def _noting(listed: Iterator[Row], archives: set[int]) -> Iterator[Row]:
    """Passes the rows on, and puts down whose content they are in."""
    for row in listed:
        archives.add(row.archive)
        yield row


def _write(path: Path, pieces: Iterator[bytes]) -> int:
    """Returns how many bytes. Raises DrillFailed where the scratch folder cannot take them."""
    size = 0
    try:
        with path.open("wb") as file:
            for piece in pieces:
                size += file.write(piece)
    except OSError as error:
        raise DrillFailed(f"{path.parent.parent} cannot be written: {error.strerror}; make room there") from error
    return size
