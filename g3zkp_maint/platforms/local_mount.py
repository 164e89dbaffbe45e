"""A Secret's values as files, as a kubelet mounts them: put there when an instance starts, and not changed while it runs.

`path` is a link to a folder beside it that holds one version of the Secret whole; another version comes by another
folder and a rename of the link, so a reader has one version or the other. Folders are 0700, files 0600.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from g3zkp_maint.errors import PlatformError
from g3zkp_maint.platforms.local_secret import read_secret
from g3zkp_maint.platforms.local_workload import Mount


def mount(one: Mount) -> None:
    """Brings the files up to what the Secret holds now. Raises UnknownWorkload, PlatformError (a value that cannot be
    a file), OSError."""
    values = read_secret(one.secrets, one.secret).data
    strange = [name for name in values if "/" in name or name in {"", ".", ".."}]
    if strange:
        raise PlatformError(f"secret {one.secret} has values that cannot be files: {', '.join(map(repr, strange))}")
    one.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    version = one.path.with_name(f".{one.path.name}.{secrets.token_hex(6)}")
    _write(version, values)
    _point(one.path, version)
    _sweep(one.path, version)


def _write(version: Path, values: Mapping[str, bytes]) -> None:
    version.mkdir(mode=0o700)
    for name, value in values.items():
        descriptor = os.open(version / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)


def _point(path: Path, version: Path) -> None:
    # With a dot before and after its random part, it is swept like a version where a kill leaves it.
    link = version.with_name(f"{version.name}.link")
    link.symlink_to(version.name)
    link.replace(path)


def _sweep(path: Path, version: Path) -> None:
    for old in path.parent.glob(f".{path.name}.*"):
        if old == version:
            continue
        if old.is_symlink():
            old.unlink(missing_ok=True)
        else:
            shutil.rmtree(old, ignore_errors=True)  # the next start tries again
