"""What a state folder is given once: keys, passwords, the messenger's Secret. Never replaced by a later start.

The keys are made in a temporary folder that is renamed: a start that dies half-way leaves no half set, and a set that
is there is never overwritten, since losing the recovery identity means losing every backup.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from g3zkp_maint.errors import KeyMaterialError
from g3zkp_maint.keys import material
from g3zkp_maint.platforms.local_files import write_private
from g3zkp_maint.platforms.local_secret import create_secret
from g3zkp_maint.stack.environment import KEY_FILES, ROLES
from g3zkp_maint.stack.layout import Layout

KEYS_SECRET = "g3zkp-keys"  # noqa: S105  a name


def ensure_keys(layout: Layout) -> bool:
    """Makes the key folders where there are none, and tells whether it did. Raises KeyMaterialError for an
    incomplete set."""
    if layout.all_keys.exists():
        _check_complete(layout)
        return False
    part = layout.root / f".keys.part-{secrets.token_hex(6)}"
    try:
        _write_keys(part, _files(material.generate()))
        part.rename(layout.all_keys)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def ensure_password(folder: Path) -> str:
    """The password of the server whose configuration lies in `folder`; made when there is none."""
    path = folder / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text(encoding="ascii")


def ensure_secrets(layout: Layout, *, namespace: str = "g3zkp") -> None:
    """The Secret that key rotation fills."""
    create_secret(layout.secrets, KEYS_SECRET, namespace=namespace, data={})


def _files(keys: material.KeyMaterial) -> dict[str, str]:
    return {
        "recovery.identity": keys.recovery_identity,
        "manifest.identity": keys.manifest_identity,
        "backup.signing.pem": keys.backup_signing_key,
        "crypto.signing.pem": keys.crypto_signing_key,
        "recipients.txt": keys.recipients,
        "signers.txt": keys.trusted_signers,
    }


def _write_keys(folder: Path, contents: dict[str, str]) -> None:
    folder.mkdir(mode=0o700)
    for role in (role for role in ROLES if KEY_FILES[role]):
        own = folder / role
        own.mkdir(mode=0o700)
        for _, file in KEY_FILES[role]:
            write_private(own / file, contents[file].encode())


def _check_complete(layout: Layout) -> None:
    missing = [
        str(layout.keys(role) / file)
        for role in ROLES
        for _, file in KEY_FILES[role]
        if not (layout.keys(role) / file).is_file()
    ]
    if missing:
        raise KeyMaterialError(
            f"key files are missing: {', '.join(missing)}; put them back from your copy (new keys would not open the "
            "backups that are there)"
        )
