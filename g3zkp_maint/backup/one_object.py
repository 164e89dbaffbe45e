"""The plain content of a component that is one object: the Redis dump, or the cluster's objects as YAML."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from blake3 import blake3

from g3zkp_maint.backup.manifest import Archive, Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.sealing import unsealed
from g3zkp_maint.errors import ArchiveCorrupt, BadInput


def read_object(repository: Repository, manifest: Manifest, component: str) -> Iterator[bytes]:
    """The plain bytes, in pieces; they count only when the iteration ends without an error.

    Raises BadInput at once for a component that is no single object, KeyMaterialError without a recovery identity;
    while it is read ArchiveCorrupt, also where the bytes are others than those that were backed up.
    """
    archive = _archive(manifest, component)
    repository.head(archive)
    pieces = unsealed(
        repository.store.get(repository.full_key(archive.key)),
        identities=repository.keyring.archive_identities(),
        what=archive.key,
        plain_size=archive.plain_size,
    )
    return _checked(pieces, archive)


def object_size(manifest: Manifest, component: str) -> int:
    """How many plain bytes `read_object` gives. Raises BadInput as it does."""
    return _archive(manifest, component).plain_size


def copy_to_file(pieces: Iterable[bytes], target: Path) -> None:
    """Writes a new file, readable by its owner only; whole, or not at all. Raises BadInput where it cannot be made or
    is there already; what `pieces` raises passes."""
    part = target.with_name(f".{target.name}.part-{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, target)
    except FileExistsError:
        raise BadInput(f"{target} is there already, and is not overwritten; name another file") from None
    except OSError as error:
        raise BadInput(
            f"cannot write {target}: {error.strerror}; name a file in a folder that can be written"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _archive(manifest: Manifest, component: str) -> Archive:
    found = [archive for archive in manifest.archives if archive.component == component]
    if manifest.component(component).kind == "files" or not found:
        raise BadInput(
            f"component {component} of {manifest.name} is no single object; its files come out by: "
            f"g3zkp-maint backup restore {manifest.name} --component {component} --to DIR"
        )
    return found[-1]


def _checked(pieces: Iterable[bytes], archive: Archive) -> Iterator[bytes]:
    hasher = blake3()
    for piece in pieces:
        hasher.update(piece)
        yield piece
    if archive.blake3 is not None and hasher.hexdigest() != archive.blake3:
        raise ArchiveCorrupt(f"{archive.key} holds other bytes than were backed up; use another backup or copy")
