"""What a run came to, as a document: for people, for machines, and to be kept for the next one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from g3zkp_maint.audit.comparison import Comparison
from g3zkp_maint.audit.facts import Unseen
from g3zkp_maint.audit.finding import Finding, Severity
from g3zkp_maint.audit.rights import Reader
from g3zkp_maint.audit.scan import Skipped
from g3zkp_maint.audit.waivers import Waived


@dataclass(frozen=True, slots=True)
class Report:
    """`findings` count, worst first; `waived` are borne. `ran`, `sure`
    and `skipped` are checks (see scan.Looked). `comparison` None: nothing is
    known of an earlier run. `readers` are who can read the messenger's keys, expected or not; None where that was not
    looked at."""

    at: datetime
    findings: tuple[Finding, ...]
    waived: tuple[Waived, ...]
    ran: tuple[str, ...]
    sure: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    unseen: tuple[Unseen, ...]
    comparison: Comparison | None
    readers: tuple[Reader, ...] | None

    @property
    def passed(self) -> bool:
        """Whether no critical finding counts."""
        return not self.counts[Severity.CRITICAL]

    @property
    def counts(self) -> dict[Severity, int]:
        """Of the findings that count, by severity, worst first."""
        counted = Counter(one.severity for one in self.findings)
        return {one: counted[one] for one in Severity}

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings that count and are as bad, or worse."""
        return tuple(one for one in self.findings if one.severity.rank <= severity.rank)

    def state_of(self, finding: Finding) -> str:
        """new or standing; "" where there is nothing to compare with."""
        if self.comparison is None:
            return ""
        return "new" if finding in self.comparison.new else "standing"

    def summary(self) -> dict[str, Any]:
        """Small, for results and the journal: how many, and no evidence."""
        changed = self.comparison
        return {
            "passed": self.passed,
            **{str(severity): count for severity, count in self.counts.items()},
            "waived": len(self.waived),
            "checks": len(self.ran),
            "skipped": len(self.skipped),
            "new": len(changed.new) if changed else None,
            "gone": len(changed.gone) if changed else None,
        }

    def as_dict(self) -> dict[str, Any]:
        """The whole, for JSON."""
        changed = self.comparison
        return {
            "at": self.at.isoformat(),
            **self.summary(),
            "compared_with": changed.since.isoformat() if changed else None,
            "findings": [{**one.as_dict(), "state": self.state_of(one) or None} for one in self.findings],
            "waived_findings": [
                {**one.finding.as_dict(), "until": one.waiver.until.isoformat(), "reason": one.waiver.reason}
                for one in self.waived
            ],
            "gone_findings": [one.as_dict() for one in changed.gone] if changed else None,
            "ran": list(self.ran),
            "skipped_checks": [{"check": one.check, "why": one.why} for one in self.skipped],
            "unseen": [{"what": one.what, "why": one.why, "by_settings": one.is_meant} for one in self.unseen],
            "keys_readers": None
            if self.readers is None
            else [
                {"subject": one.subject, "ways": list(one.ways), "expected": one.is_expected} for one in self.readers
            ],
        }
