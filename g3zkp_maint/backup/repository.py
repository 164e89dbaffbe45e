"""The repository: the backups in a store, by their manifests."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from g3zkp_maint.backup import manifest as documents
from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.manifest import FILE_NAME, Archive, Index, Manifest
from g3zkp_maint.backup.name import BackupName
from g3zkp_maint.backup.row import Row, read_rows, read_rows_raw
from g3zkp_maint.backup.sealing import Sealed, seal, unsealed
from g3zkp_maint.errors import (
    ArchiveCorrupt,
    BadInput,
    ManifestInvalid,
    ObjectExists,
    ObjectMissing,
    UnknownBackup,
)
from g3zkp_maint.stores.base import Chunk, Fetching, ObjectInfo, Store, Stored

_MANIFEST_KEY = re.compile(rf"\d{{4}}/\d{{2}}/(g3zkp_[a-z]+_\d{{8}}_\d{{6}})/{re.escape(FILE_NAME)}")
_MANIFEST_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in the store below the prefix: backups as `Repository.names` gives them, all objects, and their bytes."""

    names: list[BackupName]
    objects: int
    bytes: int


@dataclass(frozen=True)
class Repository:
    """`prefix` is "" or a path without slashes at its ends; all keys given to and returned by methods are below it."""

    store: Store
    keyring: Keyring
    prefix: str = ""
    level: int = 1

    # -- manifests -----------------------------------------------------------------------------------------------------

    def names(self) -> list[BackupName]:
        """Every backup that has a manifest, oldest first; whether it can be believed is not looked at."""
        return self.survey().names

    def survey(self) -> Survey:
        """One pass over all keys."""
        found, objects, size = [], 0, 0
        for info in self.store.list(self.full_key("")):
            objects, size = objects + 1, size + info.size
            match = _MANIFEST_KEY.fullmatch(self.below(info.key))
            if match:
                with contextlib.suppress(BadInput):  # somebody else's object: no name that we give
                    found.append(BackupName.parse(match[1]))
        return Survey(sorted(found), objects, size)

    def raw_manifest(self, name: str) -> bytes:
        """Raises BadInput for what is no name, UnknownBackup where there is none of it."""
        key = f"{BackupName.parse(name).folder}/{FILE_NAME}"
        try:
            return read_small(self.store, self.full_key(key))
        except ObjectMissing:
            raise UnknownBackup(
                f"there is no backup {name} in the store; `g3zkp-maint backup list` shows those there are"
            ) from None

    def manifest(self, name: str) -> Manifest:
        """Raises as raw_manifest, and ManifestInvalid."""
        return documents.load(self.raw_manifest(name), self.keyring, name=name)

    def manifests(self) -> Iterator[Manifest | ManifestInvalid]:
        """Newest first; in the place of one that must not be believed, the error that says why."""
        for name in reversed(self.names()):
            try:
                yield self.manifest(str(name))
            except ManifestInvalid as error:
                yield error
            except UnknownBackup:  # deleted since it was listed
                continue

    def commit(self, manifest: Manifest) -> Manifest:
        """Makes the backup exist, atomically, and returns it as signed. When it exists already, returns the one that does.

        Raises ManifestInvalid, before anything is stored, where nobody would believe it: our own signer is not trusted.
        """
        key = self.full_key(f"{manifest.folder}/{FILE_NAME}")
        raw = documents.signed(manifest, self.keyring)
        made = documents.load(raw, self.keyring, name=manifest.name)
        try:
            self.store.put(key, [raw], if_absent=True)
        except ObjectExists:
            return self.manifest(manifest.name)
        return made

    # -- objects of a backup -------------------------------------------------------------------------------------------

    def full_key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def below(self, key: str) -> str:
        """The other way round."""
        return key[len(self.prefix) + 1 :] if self.prefix else key

    def put_archive(self, key: str, plain: Iterable[Chunk]) -> Sealed:
        """Stores `plain` for the archive recipients. Raises ObjectExists; an object is never overwritten."""
        return seal(
            self.store, self.full_key(key), plain, recipients=self.keyring.archive_recipients(), level=self.level
        )

    def put_list(self, key: str, plain: Iterable[Chunk]) -> Sealed:
        """Stores a list of paths: for the archive recipients and the manifest identity. Raises ObjectExists."""
        return seal(self.store, self.full_key(key), plain, recipients=self.keyring.index_recipients())

    def read_list(self, key: str, *, plain_size: int | None = None, sha256: str | None = None) -> Iterator[bytes]:
        """The plain bytes of a list; whole, and with `sha256` the very object that a manifest names, only when this
        ends without an error. Recipients are public: who can write the store can also make a list that opens."""
        stored = self.store.get(self.full_key(key))
        return unsealed(
            _checked(stored, key, sha256) if sha256 else stored,
            identities=self.keyring.index_identities(),
            what=key,
            plain_size=plain_size,
        )

    def rows(self, manifest: Manifest, component: str) -> Iterator[Row]:
        """The files of a component, in walk order. Raises ArchiveCorrupt."""
        index = manifest.component(component).index
        if index is None:
            raise BadInput(f"component {component!r} of {manifest.name} has no list of files")
        yield from read_rows(self.read_list(index.key, plain_size=index.plain_size, sha256=index.sha256))

    def rows_raw(self, manifest: Manifest, component: str) -> Iterator[tuple[Row, bytes]]:
        """As `rows`, each with its line; nothing where the manifest does not have the component."""
        for found in manifest.components:
            if found.name == component and found.index is not None:
                index = found.index
                yield from read_rows_raw(self.read_list(index.key, plain_size=index.plain_size, sha256=index.sha256))

    def head(self, archive: Archive | Index) -> ObjectInfo:
        """What the store says of an object that a manifest names. Raises ArchiveCorrupt where it is missing, of another
        size, or of another digest (where the store knows it)."""
        try:
            info = self.store.head(self.full_key(archive.key))
        except ObjectMissing:
            raise ArchiveCorrupt(
                f"{archive.key} is missing from the store; use another backup or another copy"
            ) from None
        if info.size != archive.size:
            raise ArchiveCorrupt(
                f"{archive.key} has {info.size} bytes where its manifest says {archive.size}; "
                "it was cut short or replaced: use another backup or another copy"
            )
        if info.digest is not None and info.digest != archive.sha256:
            raise ArchiveCorrupt(
                f"{archive.key} was changed: its SHA-256 is not the manifest's; use another backup or copy"
            )
        return info

    def digest(self, found: Archive | Index, seen: Callable[[int], object]) -> str:
        """Reads a stored object through and returns its SHA-256; `seen` is told the bytes of each piece. A store that
        fetches keeps a copy of it until it is released."""
        key = self.full_key(found.key)
        if isinstance(self.store, Fetching):
            return self.store.fetch(key, Stored(found.size, found.sha256), seen)
        hasher = hashlib.sha256()
        for piece in self.store.get(key):
            hasher.update(piece)
            seen(len(piece))
        return hasher.hexdigest()

    def release(self, found: Archive | Index) -> None:
        """It will not be read again: a copy of it may go."""
        if isinstance(self.store, Fetching):
            self.store.release(self.full_key(found.key))


def _checked(stored: Iterator[bytes], key: str, sha256: str) -> Iterator[bytes]:
    hasher = hashlib.sha256()
    for piece in stored:
        hasher.update(piece)
        yield piece
    if hasher.hexdigest() != sha256:
        raise ArchiveCorrupt(
            f"{key} is not the object that the manifest names: its SHA-256 differs; use another backup"
        )


def read_small(store: Store, key: str) -> bytes:
    """A whole object that is meant to be small. Raises ManifestInvalid past 64 MiB."""
    pieces, held = [], 0
    for piece in store.get(key):
        pieces.append(piece)
        held += len(piece)
        if held > _MANIFEST_LIMIT:
            raise ManifestInvalid(f"{key} is larger than {_MANIFEST_LIMIT} bytes; it is no manifest of ours")
    return b"".join(pieces)
