"""What came of a cleanup: of each step, and of all of them together. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from g3zkp_maint.cleanup.plan import NEEDS, CleanupPlan, StepName
from g3zkp_maint.errors import CleanupFailed

_DELETING = (StepName.MESSAGES, StepName.PROOFS, StepName.SESSIONS)


class Done(BaseModel):
    """A step at its end. `count` is what it deleted, `freed_bytes` what compaction gave back; `why` it was not ok;
    `listed` are names for people (of claims that nothing mounts)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: StepName
    outcome: Literal["ok", "failed", "skipped"]
    count: int = 0
    freed_bytes: int = 0
    why: str = ""
    listed: tuple[str, ...] = ()


def obstacle(step: StepName, done: Mapping[StepName, Done]) -> str | None:
    """Why `step` must not run after what was done before it; None: it may."""
    before = NEEDS.get(step)
    if before is None or before not in done or done[before].outcome == "ok":
        return None
    return f"{before} was {done[before].outcome}, and both lie in one store"


def summary(plan: CleanupPlan, done: Mapping[StepName, Done]) -> dict[str, Any]:
    """The result of the run. Raises CleanupFailed where no deletion succeeded."""
    problems = [f"{one.step}: {one.why}" for one in done.values() if one.outcome != "ok"]
    if all(done[step].outcome != "ok" for step in _DELETING):
        raise CleanupFailed(f"nothing could be deleted: {'; '.join(problems)}; mend the cause, and start it again")
    housekeeping = done.get(StepName.HOUSEKEEPING)
    return {
        "outcome": "partial" if problems else "ok",
        **{str(step): done[step].count for step in _DELETING},
        "freed_bytes": done[StepName.COMPACT].freed_bytes,
        "cutoffs_ms": dict(plan.cutoffs_ms),
        "backup": plan.backup,
        **({"forced": plan.reason} if plan.forced else {}),
        **({"removed_objects": housekeeping.count} if housekeeping else {}),
        **({"unmounted_claims": list(housekeeping.listed)} if housekeeping else {}),
        "problems": problems,
    }
