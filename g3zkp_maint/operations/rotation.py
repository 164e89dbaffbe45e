"""Rotation of the messenger's keys as a run; what is due, how it stands, and what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.lease import KEYS, WORKLOAD, Mode
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.operations.windows import take_leave, work_of
from g3zkp_maint.rotation.carry_out import rotate as carry_out
from g3zkp_maint.rotation.entries import KeyType
from g3zkp_maint.rotation.history import TASK, Turn, turns
from g3zkp_maint.rotation.plan import RotationPlan, checked_types, plan_rotation
from g3zkp_maint.rotation.record import Record, read_record
from g3zkp_maint.rotation.site import all_standings
from g3zkp_maint.rotation.standing import Standing
from g3zkp_maint.windows.leave import Work

#: The leases of a rotation. One that only looks needs none.
WANTS = {KEYS: Mode.EXCLUSIVE, WORKLOAD: Mode.EXCLUSIVE}


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """`types` () are all; with `force` they are rotated whether due or not, and outside of a window, for which `reason`
    is needed."""

    types: tuple[KeyType, ...]
    force: bool = False
    reason: str = ""

    @classmethod
    def of(cls, types: Sequence[str], *, force: bool, reason: str) -> RotationRequest:
        """Raises BadInput for a type that is none."""
        return cls(checked_types(types), force, reason)


@dataclass(frozen=True, slots=True)
class KeysStatus:
    """How it stands with every type at `at`; `rotation` is how far the last rotation came."""

    at: datetime
    standings: tuple[Standing, ...]
    rotation: Record | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "keys": [one.as_dict(self.at) for one in self.standings],
            "rotation": None if self.rotation is None else self.rotation.model_dump(mode="json"),
        }


def status(services: Services) -> KeysStatus:
    """From the Secret. Raises UnknownWorkload, PlatformError."""
    now = services.clock.now()
    secret = services.platform.read_secret(services.settings.messenger.keys_secret)
    return KeysStatus(now, all_standings(secret, services.settings.rotation, now), read_record(secret.annotations))


def plan(services: Services, request: RotationRequest) -> RotationPlan:
    """What `rotate` would do now. Touches nothing."""
    seen = status(services)
    unfinished = seen.rotation if seen.rotation and seen.rotation.is_unfinished else None
    return plan_rotation(seen.standings, types=request.types, force=request.force, now=seen.at, unfinished=unfinished)


def dry_run(services: Services, request: RotationRequest, held: Held) -> dict[str, Any]:
    """As a small document."""
    with held.step("plan") as step:
        found = plan(services, request)
        step.note(due=",".join(found.due), dry_run=True)
    return {"outcome": "ok", "dry_run": True, **found.as_dict()}


def rotate(services: Services, request: RotationRequest, slot: str, held: Held) -> dict[str, Any]:
    """Rotates, under the leases WANTS. Returns what was done; raises as the domain's `rotate` tells."""
    allow = partial(require_leave, services, request, held)
    with held.step("asked") as step:
        step.note(types=",".join(request.types), force=request.force, reason=request.reason)
    site = services.rotation_site(held.guard, held.step, run=slot, allow=allow, attempt=held.attempt)
    return carry_out(site, types=request.types, force=request.force).as_dict()


def require_leave(services: Services, request: RotationRequest, held: Held, plan: RotationPlan) -> None:
    """Whether the messenger may be restarted now: in a maintenance window that holds it, or with force and a reason.
    Raises OutsideWindow, HeldBack."""
    what = f"rotating {', '.join(plan.due)} keys"
    platform = services.settings.platform
    # Forward, proved, and back again, each as long as it may take.
    longest = services.settings.rotation.answer_seconds + 3 * platform.rollout_seconds + platform.stop_seconds

    def work() -> Work:
        return work_of(
            services, TASK, what, first_seconds=longest, first_basis="all its time limits, as none has run yet"
        )

    take_leave(services, work, held, force=request.force, reason=request.reason)


def history(services: Services, since: datetime | None, type: KeyType | None) -> list[Turn]:
    """What was rotated and taken back since then, oldest first, as far as the journal reaches."""
    return turns(services.journal.read(since, task=TASK), type=type)
