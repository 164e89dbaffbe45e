"""What a cleanup would delete, and whether it may: pure, of settings, a time and the newest backup.

All cutoffs come from one moment, so that every step, each repetition of one and each process means the same by "older".
They are milliseconds since 1970, UTC, as the messenger takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from g3zkp_maint.errors import BadInput, CleanupRefused
from g3zkp_maint.settings import Cleanup
from g3zkp_maint.settings.cleanup import Days, SomeHours

Kind = Literal["messages", "proofs", "sessions"]
KINDS: tuple[Kind, ...] = ("messages", "proofs", "sessions")


class StepName(StrEnum):
    """The steps, in their order. `housekeeping` only where it is asked for."""

    MESSAGES = "messages"
    PROOFS = "proofs"
    SESSIONS = "sessions"
    COMPACT = "compact"
    HOUSEKEEPING = "housekeeping"


#: Without whose success a step does not run. Messages and proofs lie in one store: where a deletion in it went wrong,
#: nothing more is deleted from it until somebody has looked. Sessions are apart. To compact is safe: it gives back the
#: room of what is deleted already.
NEEDS: Mapping[StepName, StepName] = {StepName.PROOFS: StepName.MESSAGES}


class CleanupRequest(BaseModel):
    """What is asked of one run; None: as the settings say. `force` with a `reason` goes below the floors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages_days: Days | None = None
    proofs_days: Days | None = None
    sessions_hours: SomeHours | None = None
    force: bool = False
    reason: str = ""

    @classmethod
    def parse(cls, asked: Mapping[str, Any]) -> CleanupRequest:
        """Of a task's arguments. Raises BadInput."""
        try:
            return cls.model_validate(dict(asked))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise BadInput(f"a cleanup cannot be asked for like this: {faults}") from None

    def policy(self, settings: Cleanup) -> Cleanup:
        """The settings as this run has them."""
        asked = self.model_dump(include={"messages_days", "proofs_days", "sessions_hours"}, exclude_none=True)
        return Cleanup.model_validate({**settings.model_dump(), **asked})


@dataclass(frozen=True, slots=True)
class Backed:
    """The newest backup that is signed and complete, and when it looked at the data."""

    name: str
    planned_at: datetime


class CleanupPlan(BaseModel):
    """One run's. `cutoffs_ms`: what is older goes; `refusals`: why it may not, a sentence each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    cutoffs_ms: Mapping[Kind, int]
    steps: tuple[StepName, ...]
    backup: str | None = None
    backup_age_hours: float | None = None
    forced: bool = False
    reason: str = ""
    refusals: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def cutoff(self, kind: Kind) -> datetime:
        return datetime.fromtimestamp(self.cutoffs_ms[kind] / 1000, tz=self.at.tzinfo)


def plan(
    settings: Cleanup, request: CleanupRequest, *, begun: datetime, now: datetime, newest: Backed | None
) -> CleanupPlan:
    """`begun` is when the run first began, from which the cutoffs count; `now` is when it is looked at the backups."""
    policy = request.policy(settings)
    ages = {
        "messages": timedelta(days=policy.messages_days),
        "proofs": timedelta(days=policy.proofs_days),
        "sessions": timedelta(hours=policy.sessions_hours),
    }
    cutoffs = {kind: _milliseconds(begun - age) for kind, age in ages.items()}
    steps = tuple(step for step in StepName if step is not StepName.HOUSEKEEPING or policy.housekeeping_days)
    found = CleanupPlan.model_validate(
        {
            "at": begun,
            "cutoffs_ms": cutoffs,
            "steps": steps,
            "backup": newest.name if newest else None,
            "backup_age_hours": round((now - newest.planned_at) / timedelta(hours=1), 2) if newest else None,
            "forced": request.force and bool(request.reason.strip()),
            "reason": request.reason.strip(),
        }
    )
    refusals = (*_below_floors(policy, request), *_unsaved(policy, found, newest, now))
    return found.model_copy(update={"refusals": refusals})


def require_allowed(plan: CleanupPlan) -> None:
    """Raises CleanupRefused with all that speaks against it."""
    if plan.refusals:
        raise CleanupRefused(f"nothing is deleted: {'; '.join(plan.refusals)}")


def _milliseconds(moment: datetime) -> int:
    return max(0, int(moment.timestamp() * 1000))


def _below_floors(policy: Cleanup, request: CleanupRequest) -> list[str]:
    if request.force and request.reason.strip():
        return []
    hours = {
        "messages": (policy.messages_days * 24, policy.messages_floor_hours),
        "proofs": (policy.proofs_days * 24, policy.proofs_floor_hours),
        "sessions": (policy.sessions_hours, policy.sessions_floor_hours),
    }
    lacks = "a reason" if request.force else "force and a reason"
    return [
        f"{kind} would be kept for {kept:g} h only, less than the floor of {floor:g} h; that needs {lacks}"
        for kind, (kept, floor) in hours.items()
        if kept < floor
    ]


def _unsaved(policy: Cleanup, plan: CleanupPlan, newest: Backed | None, now: datetime) -> list[str]:
    """Not to be forced: what no backup holds is gone for good."""
    if newest is None:
        return ["there is no valid and complete backup, so what is deleted would be gone for good; take one first"]
    limit = timedelta(hours=policy.backup_age_hours)
    told = f"the newest valid backup, {newest.name}, is of {newest.planned_at:%Y-%m-%d %H:%M}Z"
    if now - newest.planned_at > limit:
        return [f"{told}, more than {policy.backup_age_hours:g} h ago; take one first"]
    late = [kind for kind in ("messages", "proofs") if plan.cutoffs_ms[kind] > _milliseconds(newest.planned_at)]
    return [f"{told}, and {kind} made after it would be deleted unsaved; take one first" for kind in late]
