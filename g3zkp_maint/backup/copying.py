"""Copies of backups in a second store: other hardware, another place (3-2-1).

A copy is all that a restore of the backup needs, archives of earlier backups as well, under the same keys; the manifest
comes last, so in the second store too a backup exists when its manifest does. What is there already stays: a copy that
was killed goes on with what lacks, and one that is whole costs a question per object.

Each object's SHA-256 is compared with the manifest's on the way, and a wrong one never becomes visible; then what was
written is read back. The second store needs no key of ours, and its own credentials may be such that they cannot delete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from g3zkp_maint.backup import manifest as documents
from g3zkp_maint.backup.manifest import FILE_NAME, Archive, Index, Manifest
from g3zkp_maint.backup.name import BackupName
from g3zkp_maint.backup.repository import Repository, read_small
from g3zkp_maint.backup.retention import Rule, Verdict
from g3zkp_maint.backup.verify import check_stored, needed
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import ArchiveCorrupt, ManifestInvalid, ObjectExists, ObjectMissing
from g3zkp_maint.progress import NoProgress, Progress


@dataclass(frozen=True)
class CopySite:
    """From where and to where."""

    source: Repository
    target: Repository
    guard: Guard
    progress: Progress = field(default_factory=NoProgress)


@dataclass(frozen=True, slots=True)
class Copied:
    """What was written anew, in objects and bytes, and how many objects were there already."""

    name: str
    objects: int
    bytes: int
    already: int

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def copy_backup(site: CopySite, name: str) -> Copied:
    """Brings the backup `name` to the second store, whole. May be repeated.

    Raises UnknownBackup, ManifestInvalid (also where the second store has another backup of that name), ArchiveCorrupt
    where an object of either store is not the manifest's, StoreError, LeaseLost.
    """
    raw = site.source.raw_manifest(name)
    manifest = documents.load(raw, site.source.keyring, name=name)
    _refuse_another(site, manifest, raw)
    objects = list(needed(manifest))
    lacking = [one for one in objects if not _is_there(site.target, one)]
    for number, one in enumerate(lacking):
        site.progress.step(f"{name} {number + 1}/{len(lacking)}")
        site.guard.ensure_held()
        _copy(site, one)
    site.guard.verify()
    _put_manifest(site, manifest, raw)
    return Copied(name, len(lacking), sum(one.size for one in lacking), len(objects) - len(lacking))


def lacking(kept: Iterable[Verdict], copied: Collection[str]) -> list[str]:
    """Of the backups that retention keeps those that have no copy and can be believed, newest first: what would be
    restored comes before what is kept for the record. Pure; `copied` are the names in the second store."""
    believed = (one.name for one in kept if all(reason.rule is not Rule.INVALID for reason in one.reasons))
    return sorted((name for name in believed if name not in copied), key=BackupName.parse, reverse=True)


def _manifest_key(site: CopySite, manifest: Manifest) -> str:
    return site.target.full_key(f"{manifest.folder}/{FILE_NAME}")


def _refuse_another(site: CopySite, manifest: Manifest, raw: bytes) -> None:
    try:
        there = read_small(site.target.store, _manifest_key(site, manifest))
    except ObjectMissing:
        return
    if there != raw:
        raise ManifestInvalid(
            f"the second store has another manifest of {manifest.name}: it was damaged or replaced there, or that store "
            "is not this one's copy; see which one is genuine before you remove the other"
        )


def _is_there(target: Repository, one: Archive | Index) -> bool:
    try:
        info = target.store.head(target.full_key(one.key))
    except ObjectMissing:
        return False
    if info.size == one.size and info.digest in {None, one.sha256}:
        return True
    raise ArchiveCorrupt(
        f"the second store has another {one.key} than the manifest says ({info.size} bytes, where it says {one.size}); "
        "remove it there, then copy again"
    )


def _copy(site: CopySite, one: Archive | Index) -> None:
    try:
        site.target.store.put(site.target.full_key(one.key), _checked(site, one), if_absent=True)
    except ObjectExists:  # another copy was quicker; whether it is right shows now
        site.target.head(one)
    check_stored(site.target, one, NoProgress())


def _checked(site: CopySite, one: Archive | Index) -> Iterator[bytes]:
    """Its bytes; an error at the end, before anything is visible, where they are not the manifest's."""
    site.source.head(one)
    hasher = hashlib.sha256()
    for piece in site.source.store.get(site.source.full_key(one.key)):
        hasher.update(piece)
        site.progress.advance(len(piece))
        yield piece
    if hasher.hexdigest() != one.sha256:
        raise ArchiveCorrupt(
            f"{one.key} was changed after it was stored: its SHA-256 is not the manifest's; it was not copied. Look "
            "whether the second store has it whole, and take a full backup now"
        )


def _put_manifest(site: CopySite, manifest: Manifest, raw: bytes) -> None:
    site.guard.ensure_held()
    try:
        site.target.store.put(_manifest_key(site, manifest), [raw], if_absent=True)
    except ObjectExists:
        _refuse_another(site, manifest, raw)
