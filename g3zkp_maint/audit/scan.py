"""Runs checks on facts that were gathered. Pure; what could not be looked at is told, never passed over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.facts import Unseen
from g3zkp_maint.audit.finding import Finding, Severity, worst_first

BLIND = Rule(
    "scan-blind",
    "Something could not be looked at",
    Severity.MEDIUM,
    "The scan itself: what it was to look at by the settings, and could not.",
    "What is wrong there is not found.",
    "Give the right or the way that lacks, or switch that look off in the settings (`audit.look_into_…`).",
)


class Parts(Protocol):
    """Facts in parts: attributes that are None where they were not looked at."""

    @property
    def unseen(self) -> tuple[Unseen, ...]: ...

    def why_unseen(self, part: str) -> str: ...


P = TypeVar("P", bound=Parts)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A check that could not tell anything, and why."""

    check: str
    why: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of it: findings, worst first, and which checks had something to look at; `sure` are those of them that saw
    all that was to be seen, so that what they do not find is not there."""

    findings: tuple[Finding, ...]
    ran: tuple[str, ...]
    sure: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def look(checks: Iterable[Check[P]], facts: P) -> Looked:
    """What is unseen, and was to be seen, is a finding of its own."""
    findings: list[Finding] = []
    ran, sure, skipped = [BLIND.id], [BLIND.id], []
    dim = {one.part for one in facts.unseen if not one.is_meant}
    for check in checks:
        lacking = [part for part in check.needs if getattr(facts, part) is None]
        if lacking:
            skipped.append(Skipped(check.id, "; ".join(map(facts.why_unseen, lacking))))
            continue
        ran.append(check.id)
        sure += [check.id] if dim.isdisjoint(check.needs) else []
        findings += check.findings(facts)
    findings += [BLIND.finding(Found(one.what, one.why)) for one in facts.unseen if not one.is_meant]
    return Looked(worst_first(findings), tuple(ran), tuple(sure), tuple(skipped))
