"""What people are told of certificates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from g3zkp_maint.audit.finding import Finding, Severity
from g3zkp_maint.certificates.plan import Restart
from g3zkp_maint.notices.base import Notice
from g3zkp_maint.notices.base import Severity as Urgency


def untold(findings: Sequence[Finding], told: Collection[str]) -> tuple[Finding, ...]:
    """Those of which people do not know: `told` are marks. One that has become worse is told anew."""
    return tuple(one for one in findings if mark(one) not in told)


def mark(finding: Finding) -> str:
    return f"{finding.digest}:{finding.severity}"


def restart_by_hand(due: Restart, *, at: datetime) -> Notice:
    """For those who are not ours to restart: once for these certificates."""
    marks = "-".join(fingerprint[:12] for _, fingerprint in sorted(due.secrets.items()))
    return Notice(
        key=f"certificates:restart:{marks}",
        title=f"Restart by hand, for new certificates: {', '.join(due.others)}"[:200],
        body=f"They run with a former certificate of {', '.join(sorted(due.secrets))}.",
        severity=Urgency.WARNING,
        at=at,
    )


def notice(findings: Sequence[Finding], *, slot: str, at: datetime) -> Notice:
    """One for all of them. `slot` is that of the run: the same run tells once."""
    worst = findings[0]
    rest = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    return Notice(
        key=f"certificates:{slot}",
        title=f"Certificates: {worst.object}: {worst.evidence}{rest}"[:200],
        body="\n".join(f"{one.severity}: {one.object}: {one.evidence}. {one.remedy}" for one in findings),
        severity=Urgency.FAILURE if worst.severity is Severity.CRITICAL else Urgency.WARNING,
        at=at,
    )
