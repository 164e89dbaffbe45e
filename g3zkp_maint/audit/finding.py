"""What a check finds: one thing that is not as it should be, how bad it is, and what to do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

_LONGEST = 500


class Severity(StrEnum):
    """How bad a finding is, worst first. Only a critical one fails an audit."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is the id of the rule that it breaks; `object` is what breaks it, in a form that stays the same from run to
    run (`Deployment/g3zkp/redis/redis`): by both a finding is known again and waived. `evidence` is what was seen, on
    one line; it holds no secret. `remedy` says what to do."""

    check: str
    severity: Severity
    object: str
    evidence: str
    remedy: str

    @property
    def key(self) -> tuple[str, str]:
        """The same finding in another run has the same one."""
        return self.check, self.object

    @property
    def digest(self) -> str:
        """The key as 16 hex digits, for formats and keys that take no other text."""
        return hashlib.sha256("\0".join(self.key).encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, str]:
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Finding:
        """From `as_dict`. Raises KeyError, ValueError for what is none."""
        severity = Severity(document["severity"])
        texts = {name: str(document[name]) for name in ("check", "object", "evidence", "remedy")}
        return cls(severity=severity, **texts)


def one_line(text: str) -> str:
    """Without what a terminal obeys: names of files may hold anything. Cut where it is too long."""
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in shown)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By severity, then by check and object."""
    return tuple(sorted(findings, key=lambda one: (one.severity.rank, one.key)))
