"""The key files of the product: made once, read strictly.

Formats are those of the tools one would recover with: age identities and recipients as `age-keygen` writes them, Ed25519
private keys as PKCS#8 PEM, public ones as base64 of the raw 32 bytes, one a line. In both lists `#` begins a comment.
Private files that group or others may read are refused; no error shows what a file holds.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyrage
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from g3zkp_maint.errors import KeyMaterialError

_K = TypeVar("_K")


@dataclass(frozen=True)
class KeyMaterial:
    """A whole new set, in the text form of its files."""

    recovery_identity: str = field(repr=False)
    manifest_identity: str = field(repr=False)
    backup_signing_key: str = field(repr=False)
    crypto_signing_key: str = field(repr=False)
    recipients: str
    trusted_signers: str


def generate() -> KeyMaterial:
    """Fresh keys. The recovery identity opens every archive: it goes to the crypto fleet and to a safe, nowhere else."""
    recovery, manifest = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    backup, crypto = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    signers = (
        f"# backup fleet\n{public_line(backup.public_key())}\n# crypto fleet\n{public_line(crypto.public_key())}\n"
    )
    return KeyMaterial(
        recovery_identity=_identity_text(recovery),
        manifest_identity=_identity_text(manifest),
        backup_signing_key=_pem(backup),
        crypto_signing_key=_pem(crypto),
        recipients=f"{recovery.to_public()}\n",
        trusted_signers=signers,
    )


def load_identities(path: Path) -> list[pyrage.x25519.Identity]:
    """The age identities of a file, at least one. Raises KeyMaterialError."""
    try:
        identities = [pyrage.x25519.Identity.from_str(line) for line in _lines(_private_text(path))]
    except pyrage.IdentityError:
        raise KeyMaterialError(f"{path} holds a line that is no age identity (AGE-SECRET-KEY-1…)") from None
    return _some(identities, path, "age identity")


def load_recipients(path: Path) -> list[pyrage.x25519.Recipient]:
    """The age recipients of a file, at least one. Raises KeyMaterialError."""
    try:
        recipients = [pyrage.x25519.Recipient.from_str(line) for line in _lines(_text(path))]
    except pyrage.RecipientError:
        raise KeyMaterialError(f"{path} holds a line that is no age recipient (age1…)") from None
    return _some(recipients, path, "age recipient")


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 private key of a PEM file. Raises KeyMaterialError."""
    try:
        key = load_pem_private_key(_private_text(path).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyMaterialError(f"{path} is no private key in PEM without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyMaterialError(f"{path} holds another kind of key than Ed25519")
    return key


def load_signers(path: Path) -> list[Ed25519PublicKey]:
    """The Ed25519 public keys of a file, at least one. Raises KeyMaterialError."""
    try:
        keys = [
            Ed25519PublicKey.from_public_bytes(base64.b64decode(line, validate=True)) for line in _lines(_text(path))
        ]
    except (ValueError, binascii.Error):
        raise KeyMaterialError(f"{path} holds a line that is not the base64 of a 32 byte Ed25519 public key") from None
    return _some(keys, path, "public key")


def public_line(key: Ed25519PublicKey) -> str:
    """A line of a list of signers."""
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _identity_text(identity: pyrage.x25519.Identity) -> str:
    return f"# public key: {identity.to_public()}\n{identity}\n"


def _pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _private_text(path: Path) -> str:
    text = _text(path)
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if not is_private(mode, owner=status.st_uid, reader=os.geteuid()):
        raise KeyMaterialError(f"{path} may be read by others (mode {mode:04o}); run: chmod 600 {path}")
    return text


def is_private(mode: int, *, owner: int, reader: int) -> bool:
    """Whether a file of that mode is for its reader alone; owner and reader are user ids.

    A file of root's, which the reader cannot change, may also be readable by a group: only so can somebody else than root
    be given one, and so Kubernetes mounts a Secret into a pod that is not root. PostgreSQL has the same rule for its keys.
    """
    given_by_root = owner == 0 and reader != 0
    return not mode & (0o037 if given_by_root else 0o077)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise KeyMaterialError(f"{path} is no key file: it holds other characters than ASCII") from None
    except OSError as error:
        raise KeyMaterialError(f"{path} cannot be read: {error.strerror}") from None


def _lines(text: str) -> list[str]:
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def _some(keys: list[_K], path: Path, what: str) -> list[_K]:
    if not keys:
        raise KeyMaterialError(f"{path} holds no {what}")
    return keys
