"""Which files a damaged object takes with it: the rows of a backup's indexes whose content is in it.

Needs the manifest identity, which the backup fleet has. Paths are sealed in the store for a reason: they are shown on the
command line, and neither journaled nor put into results, where counts do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from g3zkp_maint.backup.manifest import Archive, Index, Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import WITH_CONTENT
from g3zkp_maint.errors import ArchiveCorrupt, KeyMaterialError

#: Paths that are named of each object.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Touched:
    """The files of one backup whose content is in the object `key`: how many, and the first of their paths. `unknown`
    says why they cannot be told, where they cannot."""

    key: str
    backup: str
    files: int
    paths: tuple[str, ...] = ()
    unknown: str = ""

    def __str__(self) -> str:
        if self.unknown:
            return f"{self.key}: which files of {self.backup} it holds is not known: {self.unknown}"
        more = f" and {self.files - len(self.paths)} more" if self.files > len(self.paths) else ""
        return f"{self.key} holds {self.files} files of {self.backup}: {', '.join(self.paths)}{more}"


def touched(repository: Repository, manifest: Manifest, damaged: Iterable[Archive | Index]) -> list[Touched]:
    """For each damaged object, in their order. Raises StoreUnavailable."""
    return [_of_one(repository, manifest, one) for one in damaged]


def _of_one(repository: Repository, manifest: Manifest, damaged: Archive | Index) -> Touched:
    if isinstance(damaged, Index):
        return Touched(damaged.key, manifest.name, damaged.rows, unknown="it is the list of them itself")
    if manifest.component(damaged.component).kind != "files":
        return Touched(damaged.key, manifest.name, 1, (f"{damaged.component} (all of it)",))
    try:
        return _of_archive(repository, manifest, damaged)
    except (ArchiveCorrupt, KeyMaterialError, ValueError) as error:  # ValueError: a row of a damaged list
        return Touched(damaged.key, manifest.name, damaged.entries, unknown=str(error))


def _of_archive(repository: Repository, manifest: Manifest, damaged: Archive) -> Touched:
    files = 0
    paths: list[str] = []
    for row in repository.rows(manifest, damaged.component):
        if row.kind in WITH_CONTENT and row.archive == damaged.id:
            files += 1
            if len(paths) < SHOWN:
                paths.append(row.path)
    return Touched(damaged.key, manifest.name, files, tuple(paths))
