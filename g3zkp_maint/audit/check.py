"""A check: one rule, and the pure function that finds in a run's facts what breaks it.

Facts are gathered before, by ports, once a run; so a check does no I/O, and is tested with facts that are written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from g3zkp_maint.audit.finding import Finding, Severity, one_line

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Found:
    """What a check's function yields. `severity` None: that of the rule."""

    object: str
    evidence: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold. `id` does not change: waivers, notices and earlier runs refer to it. `looks_at` says what is looked
    at, `why` what may come of it, `remedy` what to do; each one sentence or two, for people."""

    id: str
    title: str
    severity: Severity
    looks_at: str
    why: str
    remedy: str

    def finding(self, found: Found) -> Finding:
        severity = found.severity or self.severity
        return Finding(self.id, severity, one_line(found.object), one_line(found.evidence), self.remedy)


@dataclass(frozen=True, slots=True)
class Check(Generic[F]):
    """`find` is pure. `needs` names the parts of the facts without which it cannot tell anything."""

    rule: Rule
    find: Callable[[F], Iterable[Found]]
    needs: Sequence[str] = ()

    @property
    def id(self) -> str:
        return self.rule.id

    def findings(self, facts: F) -> list[Finding]:
        return [self.rule.finding(found) for found in self.find(facts)]
