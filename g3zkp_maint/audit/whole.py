"""What the monthly audit looks at beside the security scan's facts. Frozen; gathered by ports, as those are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from g3zkp_maint.audit.facts import Facts


@dataclass(frozen=True, slots=True)
class VerifiedBackup:
    """A kept backup, and all that is wrong with what a restore of it needs; () nothing."""

    name: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JournalChain:
    """How many records were followed, and why the chain is broken ('' whole)."""

    records: int
    broken: str


@dataclass(frozen=True, slots=True)
class RestorableObject:
    """One of the cluster's objects as the backup `backup` has it: what restoring it would come to (created, changed, same,
    refused), tried on the server without doing it; `why` for people, no value in it."""

    backup: str
    object: str
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """`id` as its database has it (CVE-…, GHSA-…), in `package` of `object`; `level` is critical, high, medium or low;
    `fixed` the version without it, '' where there is none yet."""

    scanner: str
    object: str
    id: str
    package: str
    installed: str
    fixed: str
    level: str


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """The name of a Secret that people made (`Secret/g3zkp/web-tls`), and whether any object of its namespace names it."""

    name: str
    is_named: bool


@dataclass(frozen=True, slots=True)
class WholeFacts(Facts):
    """The scan's, and what takes longer.
    `names`: what this installation calls otherwise than k8s/, by the name there."""

    verified: tuple[VerifiedBackup, ...] | None = None
    journal: JournalChain | None = None
    restorable: tuple[RestorableObject, ...] | None = None
    vulnerabilities: tuple[Vulnerability, ...] | None = None
    secrets: tuple[NamedSecret, ...] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
