"""What a drill has proved, kept beside the backups: `drills/<backup>-<time>.json`, canonical JSON signed by who drilled.

It says which backup (by the SHA-256 of its manifest), which checks were made and what they counted, how long recovery
took and how old the data was. It holds no path and no content: it is for auditors, and lies in the store in the clear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from g3zkp_maint.backup import manifest as documents
from g3zkp_maint.backup.repository import Repository, read_small
from g3zkp_maint.errors import ManifestInvalid, ObjectMissing

FOLDER = "drills/"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Model):
    """`name` is what was tried (`files:ipfs`); `counts` what it came to, and of each fault how many."""

    name: str
    passed: bool
    counts: dict[str, int | str] = {}

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(f'{what}: {count}' for what, count in self.counts.items())})"


class Evidence(_Model):
    """See the module. `recovery_ms` is the time to restore everything and load Redis; `recovery_point_seconds` the age of
    the data at the drill. Times are UTC."""

    kind: Literal["g3zkp-drill"] = "g3zkp-drill"
    version: Literal[1] = 1
    product: str
    backup: str
    manifest_sha256: str
    run: str
    drilled_at: AwareDatetime
    outcome: Literal["ok", "failed"]
    recovery_ms: int = Field(ge=0)
    recovery_point_seconds: int
    entries: int = Field(ge=0)
    bytes: int = Field(ge=0)
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True, slots=True)
class Kept:
    """A piece of evidence in the store. `evidence` is None where it must not be believed, and `why` says why."""

    key: str
    evidence: Evidence | None
    signer: str = ""
    why: str = ""


def key_of(evidence: Evidence) -> str:
    """Below the prefix."""
    return f"{FOLDER}{evidence.backup}-{evidence.drilled_at:%Y%m%dT%H%M%S.%fZ}.json"


def keep(repository: Repository, evidence: Evidence) -> str:
    """Signs and stores it; returns its key. Raises KeyMaterialError, StoreError."""
    raw = documents.signed_document(evidence.model_dump(mode="json"), repository.keyring)
    repository.store.put(repository.full_key(key_of(evidence)), [raw], if_absent=True)
    return key_of(evidence)


def read_all(repository: Repository) -> list[Kept]:
    """All evidence, oldest drill first. Raises StoreUnavailable."""
    return list(newest_first(repository))[::-1]


def newest_first(repository: Repository) -> Iterator[Kept]:
    """All evidence, newest drill first; each is read when it is asked for. Raises StoreUnavailable."""
    keys = [repository.below(info.key) for info in repository.store.list(repository.full_key(FOLDER))]
    ours = [key for key in keys if key.endswith(".json")]
    for key in sorted(ours, key=lambda one: one.rpartition("-")[2], reverse=True):
        kept = _kept(repository, key)
        if kept is not None:
            yield kept


def _kept(repository: Repository, key: str) -> Kept | None:
    try:
        document, signature = documents.believed(
            read_small(repository.store, repository.full_key(key)), repository.keyring, f"the evidence {key}"
        )
        evidence = Evidence.model_validate(document)
    except ObjectMissing:  # removed since it was listed
        return None
    except ManifestInvalid as error:
        return Kept(key, None, why=str(error))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Kept(key, None, why=f"the evidence {key} is malformed at {'.'.join(map(str, first['loc']))}")
    if key_of(evidence) != key:
        return Kept(key, None, why=f"the evidence {key} is that of {key_of(evidence)}; it was put in another's place")
    return Kept(key, evidence, signature.signer)
