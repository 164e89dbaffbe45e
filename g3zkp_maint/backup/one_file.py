"""One file out of a backup: only the archive that holds it is read, and of that only up to the file's end."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

from blake3 import blake3

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.manifest import Archive, Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row
from g3zkp_maint.backup.sealing import unsealed
from g3zkp_maint.errors import ArchiveCorrupt, BadInput, ManifestInvalid

#: A file up to this size is checked before the first byte of it is given.
_HELD = 8 << 20


def find_file(repository: Repository, manifest: Manifest, path: str) -> Row:
    """The row with the content of `path`, as rows write paths: its own, or a hard link's first path.

    Raises BadInput where there is none, or it is no file; ArchiveCorrupt, KeyMaterialError of the index.
    """
    for component in manifest.components:
        if component.index is None:
            continue
        found = _row(repository.rows(manifest, component.name), path)
        if found is not None and found.kind == rows.HARDLINK:
            found = _row(repository.rows(manifest, component.name), found.link)
        if found is not None:
            return _with_content(found, manifest, path)
    raise BadInput(
        f"{manifest.name} holds no path {path!r}; paths are relative to the messenger's data folder, "
        f"as `g3zkp-maint backup ls {manifest.name}` shows them"
    )


def read_file(repository: Repository, manifest: Manifest, row: Row) -> Iterator[bytes]:
    """The content, in pieces. A file of up to 8 MiB comes checked; a larger one counts only when this ends without error.

    Raises KeyMaterialError without a recovery identity; ArchiveCorrupt where the bytes are not those that were backed up.
    """
    archive = _archive(manifest, row)
    repository.head(archive)
    identities = repository.keyring.archive_identities()
    stored = repository.store.get(repository.full_key(archive.key))
    plain = unsealed(stored, identities=identities, what=archive.key, plain_size=archive.plain_size)
    content = _checked(_cut(plain, row), row, archive)
    if row.size > _HELD:
        return content
    return iter([b"".join(content)])


def _row(found: Iterator[Row], path: str) -> Row | None:
    return next((row for row in found if row.path == path), None)


def _with_content(row: Row, manifest: Manifest, path: str) -> Row:
    if row.kind in rows.WITH_CONTENT:
        return row
    kinds = {rows.FOLDER: "a folder", rows.SYMLINK: f"a link to {row.link!r}", rows.LEFT_OUT: f"left out ({row.link})"}
    raise BadInput(f"{path!r} is no file in {manifest.name}: {kinds.get(row.kind, 'a FIFO')}; name a file")


def _archive(manifest: Manifest, row: Row) -> Archive:
    for archive in manifest.archives:
        if archive.id == row.archive:
            return archive
    raise ManifestInvalid(
        f"the index of {manifest.name} puts {row.path!r} into an archive that the manifest does not name; use another"
    )


def _cut(plain: Generator[bytes, None, None], row: Row) -> Iterator[bytes]:
    start, left = row.offset, row.size
    with contextlib.closing(plain):
        while left:
            piece = next(plain, b"")
            if not piece:
                return
            part = piece[start : start + left]
            start = max(start - len(piece), 0)
            left -= len(part)
            if part:
                yield part


def _checked(pieces: Iterator[bytes], row: Row, archive: Archive) -> Iterator[bytes]:
    hasher = blake3()
    for piece in pieces:
        hasher.update(piece)
        yield piece
    if hasher.hexdigest() != row.digest:
        raise ArchiveCorrupt(
            f"{archive.key} holds other bytes for {row.path!r} than were backed up; use another backup or copy"
        )
