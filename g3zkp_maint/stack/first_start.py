"""What a state folder is given once: keys, passwords, the messenger's Secret. Never replaced by a later start.

The keys that are there are never overwritten (keys/fleets.py); `g3zkp-maint recovery init` may have made them before.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from g3zkp_maint.errors import KeyMaterialError
from g3zkp_maint.keys import fleets, material
from g3zkp_maint.platforms.local_files import write_private
from g3zkp_maint.platforms.local_secret import create_secret
from g3zkp_maint.stack.layout import Layout

KEYS_SECRET = "g3zkp-keys"  # noqa: S105  a name


def ensure_keys(layout: Layout) -> bool:
    """Makes the key folders where there are none, and tells whether it did. Raises KeyMaterialError for an
    incomplete set."""
    if not layout.all_keys.exists():
        fleets.issue(layout.all_keys, material.generate())
        return True
    missing = fleets.missing_files(layout.all_keys)
    if missing:
        raise KeyMaterialError(
            f"key files are missing: {', '.join(map(str, missing))}; put them back from your copy (new keys would not "
            "open the backups that are there)"
        )
    return False


def ensure_password(folder: Path) -> str:
    """The password of the server whose configuration lies in `folder`; made when there is none."""
    path = folder / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text(encoding="ascii")


def ensure_secrets(layout: Layout, *, namespace: str = "g3zkp") -> None:
    """The Secret that key rotation fills."""
    create_secret(layout.secrets, KEYS_SECRET, namespace=namespace, data={})
