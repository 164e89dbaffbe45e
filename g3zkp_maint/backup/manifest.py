"""The manifest: the signed head of a backup, and the point at which a backup begins to exist.

`MANIFEST.json` is canonical JSON (keys sorted, no white space, UTF-8, integers only) with an Ed25519 signature over the
same document without its `signature`. It names every archive that a restore needs, also those of earlier backups, with
size and SHA-256. The files themselves are in one index a component (row.py), sealed apart, so that a list of backups
reads a few KiB each; the manifest holds the digest of each index, so the signature covers them.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.errors import BadInput, ManifestInvalid

FILE_NAME = "MANIFEST.json"


class Outcome(StrEnum):
    """`partial`: usable, with what lacks said; never a parent, never counted as fresh."""

    OK = "ok"
    PARTIAL = "partial"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Archive(_Model):
    """A stored object that a restore needs. Sizes in bytes; `sha256` of the stored bytes, hex; `key` below the prefix.

    `blake3` (of the plain bytes, hex) only for redis and kubernetes, whose archive is one object.
    """

    id: int = Field(ge=0)
    backup: str
    component: str
    key: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    plain_size: int = Field(ge=0)
    entries: int = Field(ge=0)
    blake3: str | None = None


class Index(_Model):
    """The sealed list of a component's files. `rows` counts its lines."""

    key: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    plain_size: int = Field(ge=0)
    rows: int = Field(ge=0)


class Counts(_Model):
    """Of a component: paths and bytes in the snapshot, bytes stored anew, and what was not taken as it was, by reason."""

    entries: int = 0
    bytes: int = 0
    new_bytes: int = 0
    notes: dict[str, int] = {}


class Component(_Model):
    name: str
    kind: Literal["files", "redis", "kubernetes"]
    path: str | None = None
    index: Index | None = None
    counts: Counts = Counts()
    facts: dict[str, int | str] = {}


class Previous(_Model):
    """The newest backup there was when this one was made, and the SHA-256 of its manifest: a removed or replaced one shows."""

    name: str
    sha256: str


class Signature(_Model):
    signer: str
    ed25519: str


class Manifest(_Model):
    """See the module. `run` is the slot or key of the run that made it; times are UTC."""

    version: Literal[1] = 1
    product: str
    name: str
    type: BackupType
    outcome: Outcome
    run: str
    parent: str | None
    previous: Previous | None
    planned_at: AwareDatetime
    sealed_at: AwareDatetime
    components: tuple[Component, ...]
    archives: tuple[Archive, ...]
    recipients: tuple[str, ...]
    notes: tuple[str, ...] = ()
    signature: Signature | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Manifest:
        ids = [archive.id for archive in self.archives]
        if len(set(ids)) != len(ids):
            raise ValueError("archive ids differ from each other")
        if BackupName.parse(self.name).type != self.type:
            raise ValueError("name and type agree")
        return self

    @property
    def at(self) -> datetime:
        return BackupName.parse(self.name).at

    @property
    def folder(self) -> str:
        return BackupName.parse(self.name).folder

    def own_archives(self) -> tuple[Archive, ...]:
        """Those that this backup stored itself."""
        return tuple(archive for archive in self.archives if archive.backup == self.name)

    def component(self, name: str) -> Component:
        """Raises BadInput, which names those that there are."""
        for component in self.components:
            if component.name == name:
                return component
        there = ", ".join(component.name for component in self.components)
        raise BadInput(f"backup {self.name} has no component {name!r}; it has {there}")


def canonical(document: dict[str, Any]) -> bytes:
    """The one spelling of a document that is signed and stored."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def signed(manifest: Manifest, keyring: Keyring) -> bytes:
    """The bytes of MANIFEST.json."""
    return signed_document(manifest.model_dump(mode="json", exclude={"signature"}), keyring)


def signed_document(document: dict[str, Any], keyring: Keyring) -> bytes:
    """Canonical JSON with its signature. Raises KeyMaterialError."""
    signer, signature = keyring.sign(canonical(document))
    return canonical(document | {"signature": {"signer": signer, "ed25519": signature}})


def load(raw: bytes, keyring: Keyring, *, name: str) -> Manifest:
    """The manifest in `raw`, believed: signed by a trusted key, canonical to the byte, of backup `name`.

    Raises ManifestInvalid, which says what is wrong.
    """
    what = f"the manifest of {name}"
    document, signature = believed(raw, keyring, what)
    if document.get("version") != 1:
        raise ManifestInvalid(f"{what} has version {document.get('version')!r}, this product reads 1; use a newer one")
    try:
        manifest = Manifest.model_validate(document | {"signature": signature})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ManifestInvalid(f"{what} is malformed at {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if manifest.name != name:
        raise ManifestInvalid(f"{what} says that it is of {manifest.name}; the two were swapped in the store")
    return manifest


def believed(raw: bytes, keyring: Keyring, what: str) -> tuple[dict[str, Any], Signature]:
    """The document in `raw` without its signature, and that one: of a trusted key, canonical to the byte. What it says
    is for the caller to check. Raises ManifestInvalid."""
    document, signature = _parsed(raw, what)
    keyring.check(canonical(document), signer=signature.signer, signature=signature.ed25519, what=what)
    if canonical(document | {"signature": signature.model_dump()}) != raw:
        raise ManifestInvalid(f"{what} is not in its canonical form; it was changed: take another backup")
    return document, signature


def _parsed(raw: bytes, what: str) -> tuple[dict[str, Any], Signature]:
    """The document without its signature, and the signature. Anything may be in `raw`."""
    try:
        document = json.loads(raw)
        if isinstance(document, dict):
            signature = Signature.model_validate(document.pop("signature", None))
            canonical(document)  # fails for what JSON allows and we never write: NaN, lone surrogates
            return document, signature
    except (ValueError, RecursionError):
        pass
    raise ManifestInvalid(f"{what} is not signed JSON; it was damaged or replaced: take another backup")


def digest(raw: bytes) -> str:
    """By which the next manifest refers to this one."""
    return hashlib.sha256(raw).hexdigest()
