"""The files that hold keys of ours."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from g3zkp_maint.settings.group import Group


class Keys(Group):
    """Files that hold keys. A fleet is given only those that it may have; what it lacks stays None."""

    recipients: Path | None = Field(None, description="age recipients (public), one a line: who can open archives")
    trusted_signers: Path | None = Field(
        None, description="Ed25519 public keys (base64), one a line: whose manifests count"
    )
    signing_key: Path | None = Field(None, description="this fleet's Ed25519 private key (PEM), signs manifests")
    manifest_identity: Path | None = Field(None, description="the age identity that opens file lists, and no archive")
    recovery_identity: Path | None = Field(None, description="the age identity that opens archives: crypto fleet only")
