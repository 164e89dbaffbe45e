"""A drill, as a run."""

from __future__ import annotations

from typing import Any

from g3zkp_maint.backup import drill as drills
from g3zkp_maint.backup.drill import Drilled
from g3zkp_maint.backup.listing import newest
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.progress import Progress

_OFFLINE = "the recovery identity is offline: nothing was drilled. Drill by hand where it is: g3zkp-maint backup drill --latest"


def carry_out(
    services: Services, name: str | None, slot: str, held: Held, *, progress: Progress | None = None
) -> Drilled:
    """Drills a backup, None: the newest. The evidence is in the store when this returns, whatever it says."""
    chosen = name if name is not None else newest(services.repository)
    with held.step("drill") as step:
        found = drills.drill(services.drill_site(held.guard, held.step, progress=progress), chosen, run=slot)
        evidence = found.evidence
        step.outcome = evidence.outcome  # its bytes are those of the steps within
        step.note(
            backup=evidence.backup,
            evidence=found.key,
            recovery_ms=evidence.recovery_ms,
            recovery_point_seconds=evidence.recovery_point_seconds,
            failed=len(evidence.failed),
        )
    return found


def drill(services: Services, name: str | None, slot: str, held: Held) -> dict[str, Any]:
    """As a small document. Raises DrillFailed where a check failed; no path is in it, nor in the error.

    Where the recovery identity is offline nothing can be drilled, and the outcome is `skipped`: that is a choice, and no
    backup is the worse for it. That no drill has passed for long is told by the age of the last one that has.
    """
    if services.settings.keys.recovery_identity is None:
        with held.step("drill") as step:
            step.outcome = "skipped"
            step.note(why=_OFFLINE)
        return {"name": name, "outcome": "skipped", "remark": _OFFLINE}
    found = carry_out(services, name, slot, held)
    drills.require_passed(found)
    return as_dict(found)


def as_dict(found: Drilled) -> dict[str, Any]:
    evidence = found.evidence
    return {
        "name": evidence.backup,
        "outcome": evidence.outcome,
        "checks": [str(check) for check in evidence.checks],
        "entries": evidence.entries,
        "bytes": evidence.bytes,
        "recovery_seconds": evidence.recovery_ms / 1000,
        "recovery_point_seconds": evidence.recovery_point_seconds,
        "evidence": found.key,
    }
