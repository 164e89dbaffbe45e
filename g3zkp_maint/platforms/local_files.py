"""Documents in the state folder: whole or absent for every reader, changed by one writer at a time.

A write goes to a temporary name and is renamed; a read-change-write holds the folder's lock (flock, so a writer that
dies holds nothing). All files are 0600: specifications and secrets hold passwords.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from g3zkp_maint.errors import PlatformError

_PART = ".part-"


def write_private(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Puts `content` at `path`, mode 0600, atomically. With `durable` it is on disk when this returns."""
    part = path.with_name(f".{path.name}{_PART}{secrets.token_hex(6)}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(descriptor)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if durable:
        _sync_folder(path.parent)


def write_document(path: Path, document: dict[str, Any], *, durable: bool = True) -> None:
    """As `write_private`, for a JSON object."""
    write_private(path, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n", durable=durable)


def read_document(path: Path) -> dict[str, Any] | None:
    """The JSON object at `path`; None where there is no such file. Raises PlatformError where it is no JSON object."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PlatformError(f"{path} is not valid JSON ({error}); remove it and start g3zkp-maint up again") from error
    if not isinstance(document, dict):
        raise PlatformError(f"{path} holds no JSON object; remove it and start g3zkp-maint up again")
    return document


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's writer lock; waits for it (writers hold it for one read and one write)."""
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
