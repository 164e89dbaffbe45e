"""What a rotation works with, and what it has done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.checkpoint import Checkpoint
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.coordination.journal import Step
from g3zkp_maint.platforms.base import Platform, SecretData
from g3zkp_maint.rotation.entries import KEY_TYPES, KeyType
from g3zkp_maint.rotation.plan import RotationPlan
from g3zkp_maint.rotation.record import Change
from g3zkp_maint.rotation.standing import Standing, standings
from g3zkp_maint.settings import Rotation


@dataclass(frozen=True)
class RotationSite:
    """`run` is the run's slot, the same at each repetition, which `attempt` counts; `allow` is asked before anything is
    disturbed, and raises; `step` opens a step in the journal."""

    platform: Platform
    secret: str
    settings: Rotation
    rollout_seconds: float
    stop_seconds: float
    clock: Clock
    guard: Guard
    checkpoint: Checkpoint
    step: Callable[[str], AbstractContextManager[Step]]
    run: str
    allow: Callable[[RotationPlan], None]
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a run has done. `finished` is the run whose half-done rotation was brought to its end first; `not_due` says
    of the other types why not."""

    run: str
    changes: tuple[Change, ...] = ()
    retired: tuple[KeyType, ...] = ()
    not_due: Mapping[KeyType, str] | None = None
    finished: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: types and ids, and no key."""
        return {
            "run": self.run,
            "outcome": "ok",
            "rotated": [change.model_dump(exclude={"had_key"}) for change in self.changes],
            "retired": list(self.retired),
            "not_due": dict(self.not_due or {}),
            "finished": self.finished,
        }


def intervals(settings: Rotation) -> dict[KeyType, timedelta]:
    """How often each type is to be rotated."""
    return {one: timedelta(hours=getattr(settings, f"{one}_hours")) for one in KEY_TYPES}


def all_standings(secret: SecretData, settings: Rotation, now: datetime) -> tuple[Standing, ...]:
    return standings(secret, every=intervals(settings), overlap=timedelta(hours=settings.overlap_hours), now=now)
