"""What there is in the store, by backup: one listing, each manifest, and the plans of runs under way. Retention, the
sweep of leftovers and the deletion of backups all decide on this one look.

Only objects below `YYYY/MM/<name of a backup>/` are looked at, and of those only our own kinds: whatever else somebody
has put into the store is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from g3zkp_maint.backup import manifest as documents
from g3zkp_maint.backup.chain import Link
from g3zkp_maint.backup.manifest import FILE_NAME, Manifest
from g3zkp_maint.backup.name import BackupName
from g3zkp_maint.backup.prepare import stored_plan
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.retention import Head
from g3zkp_maint.backup.verify import needed
from g3zkp_maint.errors import BackupError, BadInput, ManifestInvalid, UnknownBackup
from g3zkp_maint.stores.base import ObjectInfo

_KEY = re.compile(r"(\d{4}/\d{2}/(g3zkp_[a-z]+_\d{8}_\d{6}))/(.+)")
WORK = "work/"


@dataclass
class Folder:
    """The objects of one backup, finished or not, by their key below the folder."""

    name: BackupName
    objects: dict[str, ObjectInfo] = field(default_factory=dict)

    @property
    def has_manifest(self) -> bool:
        return FILE_NAME in self.objects

    @property
    def newest(self) -> datetime:
        """When the last of its objects was stored."""
        return max(info.modified for info in self.objects.values())

    def ours(self) -> dict[str, ObjectInfo]:
        """What backups store beside the manifest: archives and lists, and what only their making needs."""
        return {rest: info for rest, info in self.objects.items() if rest.startswith(WORK) or rest.endswith(".age")}


@dataclass(frozen=True, slots=True)
class Seen:
    """A backup by its manifest. `manifest` is None where it must not be believed, and `why` says why; `refers_to` (other
    backups) and `keys` (objects, below the prefix) are what it needs, or then, what it claims to."""

    name: BackupName
    digest: str
    manifest: Manifest | None
    why: str
    refers_to: frozenset[str]
    keys: frozenset[str]

    def link(self) -> Link:
        return Link(str(self.name), self.digest, self.manifest.previous if self.manifest else None)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A run that may still go on: the backups that it builds on or will point to, and the objects it has taken over."""

    refers_to: frozenset[str]
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Inventory:
    """All of it by the name of the backup; `sizes` of all objects, in bytes, by key. `problems`: what could not be read."""

    folders: Mapping[str, Folder]
    backups: Mapping[str, Seen]
    under_way: Mapping[str, UnderWay]
    sizes: Mapping[str, int]
    problems: tuple[str, ...] = ()

    def needed_keys(self) -> set[str]:
        """Every object that a manifest names or claims, or a run under way builds on."""
        backups, runs = self.backups.values(), self.under_way.values()
        return set().union(*(one.keys for one in backups), *(one.keys for one in runs))

    def heads(self) -> list[Head]:
        """For retention."""
        return [_head(one, self.sizes) for one in self.backups.values()]


def survey(repository: Repository, *, alive_since: datetime) -> Inventory:
    """Looks. A folder without a manifest is of a run under way where its newest object is not older than `alive_since`.

    Raises StoreUnavailable.
    """
    objects = {repository.below(info.key): info for info in repository.store.list(repository.full_key(""))}
    folders = _folders(objects)
    backups: dict[str, Seen] = {}
    under_way: dict[str, UnderWay] = {}
    problems: list[str] = []
    for name, folder in folders.items():
        if folder.has_manifest:
            seen = _seen(repository, folder.name)
            if seen is not None:
                backups[name] = seen
        elif folder.newest >= alive_since:
            try:
                under_way[name] = _under_way(repository, name)
            except BackupError as error:  # its run cannot go on with that either
                problems.append(str(error))
    sizes = {key: info.size for key, info in objects.items()}
    return Inventory(folders, backups, under_way, sizes, tuple(problems))


def _folders(objects: Mapping[str, ObjectInfo]) -> dict[str, Folder]:
    folders: dict[str, Folder] = {}
    for key, info in objects.items():
        match = _KEY.fullmatch(key)
        name = _name(match[2]) if match else None
        if match and name is not None and name.folder == match[1]:
            folders.setdefault(match[2], Folder(name)).objects[match[3]] = info
    return folders


def _name(text: str) -> BackupName | None:
    try:
        return BackupName.parse(text)
    except BadInput:  # somebody else's folder
        return None


def _seen(repository: Repository, name: BackupName) -> Seen | None:
    try:
        raw = repository.raw_manifest(str(name))
    except UnknownBackup:  # deleted since it was listed
        return None
    except ManifestInvalid as error:  # of a size that none of ours has
        return Seen(name, "", None, str(error), frozenset(), frozenset())
    digest = documents.digest(raw)
    try:
        manifest = documents.load(raw, repository.keyring, name=str(name))
    except ManifestInvalid as error:
        return Seen(name, digest, None, str(error), *_claims(raw))
    keys = frozenset(found.key for found in needed(manifest))
    refers_to = frozenset(archive.backup for archive in manifest.archives) - {manifest.name}
    return Seen(name, digest, manifest, "", refers_to, keys)


def _claims(raw: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """What a manifest that is not believed says it needs. To keep that too costs room and risks nothing: it may be
    refused here and be believed elsewhere, where its signer is trusted."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return frozenset(), frozenset()
    archives = _objects(document, "archives")
    indexes = [component.get("index") for component in _objects(document, "components")]
    keyed = [*archives, *(index for index in indexes if isinstance(index, dict))]
    return (
        frozenset(str(archive.get("backup")) for archive in archives),
        frozenset(str(one.get("key")) for one in keyed),
    )


def _objects(document: Any, name: str) -> list[dict[str, Any]]:
    found = document.get(name) if isinstance(document, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _under_way(repository: Repository, name: str) -> UnderWay:
    plan = stored_plan(repository, name)
    if plan is None:
        return UnderWay(frozenset(), frozenset())
    before = [other for other in (plan.parent, plan.previous.name if plan.previous else None) if other]
    refers_to = frozenset((*before, *(archive.backup for archive in plan.carried)))
    return UnderWay(refers_to, frozenset(archive.key for archive in plan.carried))


def _head(seen: Seen, sizes: Mapping[str, int]) -> Head:
    manifest = seen.manifest
    if manifest is None:
        return Head(str(seen.name), seen.name.at, seen.name.type, None, refers_to=seen.refers_to, is_whole=False)
    is_whole = all(sizes.get(found.key) == found.size for found in needed(manifest))
    return Head(
        manifest.name, manifest.at, manifest.type, manifest.outcome, manifest.run, seen.refers_to, is_whole=is_whole
    )
