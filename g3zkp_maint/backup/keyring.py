"""The keys that one process may use for backups. Which of them it was given decides what it can do.

A backup fleet has recipients (public), its signing key and the manifest identity: it writes archives and signs
manifests, and opens file lists; it opens no archive. The crypto fleet has the recovery identity as well.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyrage
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from g3zkp_maint.errors import KeyMaterialError, ManifestInvalid


@dataclass(frozen=True)
class Keyring:
    """`repr` shows no key. What a fleet may not have is None or empty."""

    recipients: Sequence[pyrage.x25519.Recipient] = field(default=(), repr=False)
    signers: Sequence[Ed25519PublicKey] = field(default=(), repr=False)
    signing_key: Ed25519PrivateKey | None = field(default=None, repr=False)
    manifest_identity: pyrage.x25519.Identity | None = field(default=None, repr=False)
    recovery_identities: Sequence[pyrage.x25519.Identity] = field(default=(), repr=False)

    def archive_recipients(self) -> list[pyrage.x25519.Recipient]:
        """Who can open archives. Raises KeyMaterialError where there is nobody: such a backup could never be read."""
        if not self.recipients:
            raise KeyMaterialError("no age recipient is set (keys.recipients); without one nobody could open a backup")
        return list(self.recipients)

    def index_recipients(self) -> list[pyrage.x25519.Recipient]:
        """Who can open file lists: the archive recipients and the manifest identity."""
        if self.manifest_identity is None:
            raise KeyMaterialError(
                "no manifest identity is set (keys.manifest_identity); backups need it to plan the next one"
            )
        return [*self.archive_recipients(), self.manifest_identity.to_public()]

    def index_identities(self) -> list[pyrage.x25519.Identity]:
        """What opens file lists here. Raises KeyMaterialError where nothing does."""
        found = [*([self.manifest_identity] if self.manifest_identity else []), *self.recovery_identities]
        if not found:
            raise KeyMaterialError(
                "neither keys.manifest_identity nor keys.recovery_identity is set: file lists stay shut"
            )
        return found

    def archive_identities(self) -> list[pyrage.x25519.Identity]:
        """What opens archives here. Raises KeyMaterialError where nothing does, as in the backup fleet."""
        if not self.recovery_identities:
            raise KeyMaterialError(
                "this process has no recovery identity (keys.recovery_identity) and so opens no archive"
            )
        return list(self.recovery_identities)

    def sign(self, message: bytes) -> tuple[str, str]:
        """The key id and the signature (both base64) of `message`."""
        if self.signing_key is None:
            raise KeyMaterialError("no signing key is set (keys.signing_key); a manifest must be signed")
        return key_id(self.signing_key.public_key()), base64.b64encode(self.signing_key.sign(message)).decode()

    def require_trusted(self) -> None:
        """Raises KeyMaterialError without a signing key, ManifestInvalid where our own signature would not be believed."""
        signer, signature = self.sign(b"")
        self.check(b"", signer=signer, signature=signature, what="what this fleet writes")

    def check(self, message: bytes, *, signer: str, signature: str, what: str) -> None:
        """Raises ManifestInvalid unless `signature` over `message` was made by the trusted key with id `signer`."""
        trusted = {key_id(key): key for key in self.signers}
        if signer not in trusted:
            raise ManifestInvalid(
                f"{what} is signed by {signer}, who is not among keys.trusted_signers; do not restore it"
            )
        try:
            trusted[signer].verify(_decoded(signature), message)
        except (InvalidSignature, ValueError):
            raise ManifestInvalid(
                f"{what} was changed after it was signed: its signature does not match; do not restore it, take another backup"
            ) from None


def _decoded(text: str) -> bytes:
    """Base64 in its one spelling: whoever changes the unused bits of the last letter has changed the manifest."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("no canonical base64")
    return raw


def key_id(key: Ed25519PublicKey) -> str:
    """The raw public key in base64, by which a signer is known."""
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
