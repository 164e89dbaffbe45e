"""Is a backup whole? `quick` asks the store for sizes (and digests, where it knows them); `full` reads every byte."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from g3zkp_maint.backup.manifest import Archive, Index, Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.sealing import unsealed
from g3zkp_maint.errors import ArchiveCorrupt, BadInput
from g3zkp_maint.progress import NoProgress, Progress


class VerifyMode(StrEnum):
    QUICK = "quick"
    FULL = "full"

    @classmethod
    def parse(cls, text: str) -> VerifyMode:
        try:
            return cls(text)
        except ValueError:
            raise BadInput(f"{text!r} is no way to verify; use 'quick' or 'full'") from None


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at: objects, and bytes as stored. `problems` is empty when all is whole; `damaged` are the objects
    that they are about."""

    name: str
    mode: VerifyMode
    objects: int
    bytes: int
    problems: tuple[str, ...]
    damaged: tuple[Archive | Index, ...] = ()

    @property
    def is_whole(self) -> bool:
        return not self.problems


def verify(
    repository: Repository, manifest: Manifest, mode: VerifyMode, *, progress: Progress | None = None
) -> Verified:
    """Looks at everything that a restore of this backup would need, earlier backups' archives too, to the end, and
    names all that is wrong. The manifest itself was checked when it was loaded."""
    progress = progress or NoProgress()
    problems: list[str] = []
    damaged: list[Archive | Index] = []
    size = 0
    objects = list(needed(manifest))
    for number, found in enumerate(objects):
        progress.step(f"{mode} {number + 1}/{len(objects)}")
        try:
            repository.head(found)
            if mode is VerifyMode.FULL:
                check_stored(repository, found, progress)
            size += found.size
        except ArchiveCorrupt as error:
            problems.append(str(error))
            damaged.append(found)
    return Verified(manifest.name, mode, len(objects), size, tuple(problems), tuple(damaged))


def needed(
    manifest: Manifest, components: frozenset[str] | None = None, archives: frozenset[int] | None = None
) -> Iterator[Archive | Index]:
    """The stored objects that a restore of these components (None: all) reads; of `archives`, by id, only those."""
    for component in manifest.components:
        if component.index is not None and (components is None or component.name in components):
            yield component.index
    for archive in manifest.archives:
        is_wanted = archives is None or archive.id in archives
        if is_wanted and (components is None or archive.component in components):
            yield archive


def check_opens(repository: Repository, found: Archive | Index) -> None:
    """Begins to decrypt an object, to see that the keys at hand open it. Raises KeyMaterialError, ArchiveCorrupt."""
    keys = repository.keyring
    identities = keys.index_identities() if isinstance(found, Index) else keys.archive_identities()
    stored = repository.store.get(repository.full_key(found.key))
    with contextlib.closing(unsealed(stored, identities=identities, what=found.key)) as plain:
        next(plain, None)


def check_stored(repository: Repository, found: Archive | Index, progress: Progress) -> None:
    """Reads an object and compares its SHA-256 with the manifest's. Raises ArchiveCorrupt."""
    if repository.digest(found, progress.advance) != found.sha256:
        raise ArchiveCorrupt(
            f"{found.key} was changed after it was stored: its SHA-256 is not the manifest's; use another backup or copy"
        )


def check_all(
    repository: Repository, objects: Iterable[Archive | Index], progress: Progress, *, workers: int, opens: bool = True
) -> int:
    """Reads `workers` objects at a time, in threads, and returns the bytes read: all are there, of the manifest's size
    and SHA-256, and (`opens`) can be opened with the keys that are here. Raises ArchiveCorrupt, KeyMaterialError."""

    def check(found: Archive | Index) -> int:
        repository.head(found)
        check_stored(repository, found, progress)
        if opens:  # after, as the store may have kept a copy
            check_opens(repository, found)
        return found.size

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(check, objects))
