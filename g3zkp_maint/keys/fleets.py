"""Which fleet is given which key file, and the making of their folders: once, whole, never over another set.

A set is made in a temporary folder that is renamed: what dies half-way leaves no half set. One that is there is never
overwritten, since losing the recovery identity means losing every backup.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from g3zkp_maint.errors import KeyMaterialError
from g3zkp_maint.keys.material import KeyMaterial
from g3zkp_maint.platforms.local_files import write_private

RECIPIENTS = "recipients.txt"
RECOVERY = "recovery.identity"
SIGNERS = "signers.txt"
MANIFEST = "manifest.identity"
#: Stands in the crypto fleet's folder for a recovery identity that is kept elsewhere.
OFFLINE = "recovery.offline"
_OFFLINE_NOTE = (
    f"The recovery identity is kept offline. For a restore put it here as {RECOVERY}, mode 0600, and start the crypto "
    "fleet again; remove it afterwards.\n"
)

_SIGNERS = ("TRUSTED_SIGNERS", SIGNERS)
_WRITES_BACKUPS = (_SIGNERS, ("RECIPIENTS", RECIPIENTS), ("MANIFEST_IDENTITY", MANIFEST))
#: By fleet (and the operator's shell): the setting's last part, and the file in its own key folder.
KEY_FILES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "backup": (*_WRITES_BACKUPS, ("SIGNING_KEY", "backup.signing.pem")),
    "crypto": (*_WRITES_BACKUPS, ("SIGNING_KEY", "crypto.signing.pem"), ("RECOVERY_IDENTITY", RECOVERY)),
    "cleanup": (_SIGNERS,),
    "observe": (_SIGNERS,),
    "operator": (_SIGNERS,),
}


def given_files(folder: Path, fleet: str) -> tuple[tuple[str, Path], ...]:
    """The settings of a fleet and their files below `folder`: all it may have but a recovery identity kept offline."""
    own = folder / fleet
    return tuple(
        (setting, own / file)
        for setting, file in KEY_FILES.get(fleet, ())
        if file != RECOVERY or (own / RECOVERY).exists() or not (own / OFFLINE).exists()
    )


def missing_files(folder: Path) -> list[Path]:
    """What a whole set has and this one lacks."""
    return [path for fleet in KEY_FILES for _, path in given_files(folder, fleet) if not path.is_file()]


def issue(folder: Path, keys: KeyMaterial, *, recovery_offline: bool = False) -> None:
    """Makes `folder` with one folder a fleet (0700, files 0600). `recovery_offline`: no fleet gets the recovery identity.

    Raises KeyMaterialError where there is something of that name, or it cannot be written.
    """
    require_absent(folder)
    part = folder.with_name(f".{folder.name}.part-{secrets.token_hex(6)}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write_set(part, _contents(keys), offline=recovery_offline)
        part.rename(folder)
        _flush(folder.parent)
    except OSError as error:
        raise KeyMaterialError(f"{folder} cannot be made: {error.strerror}; nothing was kept of it") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def require_absent(folder: Path) -> None:
    """Raises KeyMaterialError where something is at `folder`."""
    if os.path.lexists(folder):
        raise KeyMaterialError(
            f"{folder} is there already and is not overwritten: its keys open the backups that were made with them; "
            "give another folder, or see what it holds with: g3zkp-maint recovery show"
        )


def _contents(keys: KeyMaterial) -> dict[str, str]:
    return {
        RECOVERY: keys.recovery_identity,
        MANIFEST: keys.manifest_identity,
        "backup.signing.pem": keys.backup_signing_key,
        "crypto.signing.pem": keys.crypto_signing_key,
        RECIPIENTS: keys.recipients,
        SIGNERS: keys.trusted_signers,
    }


def _write_set(folder: Path, contents: Mapping[str, str], *, offline: bool) -> None:
    folder.mkdir(mode=0o700)
    for fleet, files in KEY_FILES.items():
        own = folder / fleet
        own.mkdir(mode=0o700)
        for _, file in files:
            if offline and file == RECOVERY:
                write_private(own / OFFLINE, _OFFLINE_NOTE.encode())
            else:
                write_private(own / file, contents[file].encode())


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
