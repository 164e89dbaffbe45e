"""One step of a cleanup: one call of the messenger's modules, as the maintenance protocols have it, and a checked answer.

Each may be repeated: what was deleted is not deleted again. A count is that of the tries that answered; what a try that
was cut off had deleted before is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from g3zkp_maint.cleanup.plan import CleanupPlan, Kind, StepName
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import MaintenanceError, MessengerCallFailed
from g3zkp_maint.messenger_call import call
from g3zkp_maint.platforms.base import Platform

_DELETE: Mapping[Kind, str] = {
    "messages": "return require('@g3zkp/storage').deleteMessagesBefore(args[0]);",
    "proofs": "return require('@g3zkp/storage').deleteProofsBefore(args[0]);",
    "sessions": "return require('@g3zkp/crypto').cleanupStaleSessions(args[0]);",
}
_COMPACT = "return require('@g3zkp/storage').compact();"
# The protocols know no call that only counts. A messenger that has one of these is asked; of another it is said.
_COUNT: Mapping[Kind, tuple[str, str]] = {
    "messages": ("@g3zkp/storage", "countMessagesBefore"),
    "proofs": ("@g3zkp/storage", "countProofsBefore"),
    "sessions": ("@g3zkp/crypto", "countStaleSessions"),
}
_COUNT_SCRIPT = """
const [module, name, cutoffMs] = args;
const count = require(module)[name];
return typeof count === 'function' ? count(cutoffMs) : null;
"""


@dataclass(frozen=True, slots=True)
class CleanupSite:
    """Where a step works. `guard` is verified before each call and asked all through it; `silence_seconds` is how long a
    call outlives a caller that is gone: less than a lease does."""

    platform: Platform
    guard: Guard
    seconds: float
    silence_seconds: float


@dataclass(frozen=True, slots=True)
class Counted:
    """Of a dry run: how many would go, or None and why that is not known."""

    count: int | None
    why: str = ""


def delete(site: CleanupSite, plan: CleanupPlan, kind: Kind) -> int:
    """Deletes what is older than the cutoff; returns how many. Raises MessengerCallFailed, MessengerUnfit, LeaseLost,
    PlatformUnavailable."""
    return _count_of(_ask(site, _DELETE[kind], plan.cutoffs_ms[kind]), kind)


def compact(site: CleanupSite) -> int:
    """Gives room back to the file system; returns the bytes. Raises as `delete`."""
    answer = _ask(site, _COMPACT)
    return _count_of(answer.get("freedBytes") if isinstance(answer, dict) else answer, StepName.COMPACT)


def count(site: CleanupSite, plan: CleanupPlan, kind: Kind) -> Counted:
    """How many `delete` would take; deletes nothing."""
    module, name = _COUNT[kind]
    try:
        answer = _ask(site, _COUNT_SCRIPT, module, name, plan.cutoffs_ms[kind])
        if answer is None:
            return Counted(None, f"this messenger offers no {name}")
        return Counted(_count_of(answer, kind))
    except MaintenanceError as error:
        return Counted(None, str(error))


def _ask(site: CleanupSite, script: str, *args: Any) -> Any:
    site.guard.verify()
    return call(
        site.platform,
        script,
        args=args,
        timeout_seconds=site.seconds,
        guard=site.guard,
        silence_seconds=site.silence_seconds,
    )


def _count_of(answer: Any, what: str) -> int:
    # bool is an int in Python, and 3.0 is one in JSON as Node writes it.
    if isinstance(answer, bool) or not isinstance(answer, int) or answer < 0:
        raise MessengerCallFailed(
            f"the messenger answered {str(answer)[:80]!r} for {what}, where a whole number was due; how much was deleted "
            "is not known; see the messenger's version"
        )
    return answer
