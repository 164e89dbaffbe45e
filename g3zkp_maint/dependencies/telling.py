"""What people are told of newer versions."""

from __future__ import annotations

from collections import Counter

from g3zkp_maint.dependencies.plan import DependencyPlan
from g3zkp_maint.notices.base import Notice, Severity

_LINES = 40


def notice(plan: DependencyPlan, *, slot: str) -> Notice:
    """One a run; `slot` is the run's. Nothing is changed by it, and that is said."""
    counts = Counter(str(one.change) for one in plan.steps)
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    lines = [
        f"{one.kind} {one.name}: {one.current} -> {one.newer} ({one.change}: {one.window} window)" for one in plan.steps
    ]
    more = [f"and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    windows = [f"the next {kind} window begins {start:%Y-%m-%d %H:%MZ}" for kind, start in plan.windows.items()]
    lacks = [f"not asked: {one.what}: {one.why}" for one in plan.lacks]
    return Notice(
        key=f"dependencies:{slot}",
        title=f"Newer versions: {told}",
        body="\n".join([*lines[:_LINES], *more, *windows, *lacks, "Nothing was changed."]),
        severity=Severity.INFO,
        at=plan.at,
    )
