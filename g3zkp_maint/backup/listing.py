"""What is in the store, those that must not be believed included: a list that hides them hides an attack."""

from __future__ import annotations

from dataclasses import dataclass

from g3zkp_maint.backup import manifest as documents
from g3zkp_maint.backup.chain import Break, Link, breaks
from g3zkp_maint.backup.ledger import read_shelf
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.name import BackupName
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.errors import BadInput, ManifestInvalid, UnknownBackup


@dataclass(frozen=True, slots=True)
class Listed:
    """A backup by its name. `manifest` is None where it must not be believed, and `why` says why; `digest` is the
    SHA-256 (hex) of its manifest as stored."""

    name: BackupName
    digest: str
    manifest: Manifest | None
    why: str = ""

    def link(self) -> Link:
        return Link(str(self.name), self.digest, self.manifest.previous if self.manifest else None)


def list_backups(repository: Repository) -> list[Listed]:
    """All backups, newest first."""
    found = (_listed(repository, name) for name in reversed(repository.names()))
    return [one for one in found if one is not None]


def chain_breaks(repository: Repository, listed: list[Listed]) -> tuple[tuple[Break, ...], tuple[str, ...]]:
    """Where the chain of these does not hold, those that prune took aside; and why its ledger must not be believed, where
    it must not."""
    shelf = read_shelf(repository)
    return breaks((one.link() for one in listed), shelf.ledger.links()), shelf.problems


def newest(repository: Repository) -> str:
    """The name of the newest backup, whether it can be believed or not. Raises UnknownBackup where there is none."""
    names = repository.names()
    if not names:
        raise UnknownBackup("there is no backup in the store; take one with: g3zkp-maint backup run full")
    return str(names[-1])


def stored_bytes(manifest: Manifest) -> int:
    """What this backup takes in the store by itself: its archives and lists, not those of earlier backups."""
    indexes = [component.index.size for component in manifest.components if component.index is not None]
    return sum(archive.size for archive in manifest.own_archives()) + sum(indexes)


def _listed(repository: Repository, name: BackupName) -> Listed | None:
    try:
        raw = repository.raw_manifest(str(name))
    except UnknownBackup:  # deleted since it was listed
        return None
    try:
        manifest = documents.load(raw, repository.keyring, name=str(name))
    except (ManifestInvalid, BadInput) as error:
        return Listed(name, documents.digest(raw), None, str(error))
    return Listed(name, documents.digest(raw), manifest)
