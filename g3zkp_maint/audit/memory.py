"""What the last run found, and what people were told of it; kept for the next run.

A finding is told once, as long as it stands: one that is gone and comes again is told again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from g3zkp_maint.audit.finding import Finding, Severity
from g3zkp_maint.audit.report import Report
from g3zkp_maint.coordination.checkpoint import Checkpoint
from g3zkp_maint.notices.base import Notice
from g3zkp_maint.notices.base import Severity as Urgency

#: What people are told of at once; the rest stands in the report.
_TOLD = (Severity.CRITICAL, Severity.HIGH)
_LINES = 20


@dataclass(frozen=True, slots=True)
class Memory:
    """`findings` of the run at `at`; `told` are digests of those that people know of."""

    at: datetime
    findings: tuple[Finding, ...]
    told: frozenset[str]


def recall(checkpoint: Checkpoint) -> Memory | None:
    """None where nothing is kept that can be understood. Raises CoordinationUnavailable."""
    kept = checkpoint.load().get("memory")
    try:
        return None if kept is None else _understood(kept)
    except (KeyError, ValueError, TypeError):  # another version's
        return None


def keep(checkpoint: Checkpoint, report: Report, told: Collection[str]) -> None:
    """Raises CoordinationUnavailable."""
    # What a check that could not see all had found before is kept: it is not known to be gone.
    standing = report.comparison.standing if report.comparison else ()
    findings = [one.as_dict() for one in dict.fromkeys((*report.findings, *standing))]
    checkpoint.save(memory={"at": report.at.isoformat(), "findings": findings, "told": sorted(told)})


def to_tell(report: Report, before: Memory | None) -> tuple[Finding, ...]:
    """Of the critical and high findings that count, those that nobody was told of."""
    known = before.told if before else frozenset()
    return tuple(one for one in report.findings if one.severity in _TOLD and one.digest not in known)


def still_told(report: Report, before: Memory | None) -> frozenset[str]:
    """What was told and counts still: one that is waived is told again when its waiver has ended."""
    there = {one.digest for one in report.findings}
    if report.comparison:
        there |= {one.digest for one in report.comparison.standing}
    return (before.told if before else frozenset()) & there


def notice(findings: Collection[Finding], *, slot: str, at: datetime, whole: bool = False) -> Notice:
    """One for all of them. `slot` is that of the run: the same run tells once. `whole`: of the monthly audit."""
    critical = sum(one.severity is Severity.CRITICAL for one in findings)
    parts = [f"{count} {name}" for count, name in ((critical, "critical"), (len(findings) - critical, "high")) if count]
    return Notice(
        key=f"security-{'audit' if whole else 'scan'}:{slot}",
        title=f"Security {'audit' if whole else 'scan'}: {' and '.join(parts)} new",
        body="\n".join(_lines(findings, "audit run --whole" if whole else "audit run")),
        severity=Urgency.FAILURE if critical else Urgency.WARNING,
        at=at,
    )


def _lines(findings: Collection[Finding], command: str) -> Iterable[str]:
    for one in list(findings)[:_LINES]:
        yield f"{one.severity}: {one.object}: {one.evidence} [{one.check}]"
    if len(findings) > _LINES:
        yield f"and {len(findings) - _LINES} more"
    yield f"All of it: g3zkp-maint {command}"


def _understood(kept: Any) -> Memory:
    findings = tuple(map(Finding.of, kept["findings"]))
    return Memory(datetime.fromisoformat(kept["at"]), findings, frozenset(map(str, kept["told"])))
