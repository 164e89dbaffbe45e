"""What people are told of a benchmark that became worse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from g3zkp_maint.audit.finding import Finding
from g3zkp_maint.notices.base import Notice, Severity


def notice(findings: Sequence[Finding], *, slot: str, at: datetime) -> Notice:
    """One for all of them. `slot` is that of the run: the same run tells once."""
    names = ", ".join(one.object for one in findings)
    return Notice(
        key=f"benchmark:{slot}",
        title=f"The benchmark is worse than before: {names}",
        body="\n".join([*(f"{one.object}: {one.evidence}" for one in findings), findings[0].remedy]),
        severity=Severity.WARNING,
        at=at,
    )
