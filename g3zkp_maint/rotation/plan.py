"""Which keys are to be rotated, and why: pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from g3zkp_maint.errors import BadInput
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.rotation.entries import KEY_TYPES, KeyType
from g3zkp_maint.rotation.record import Record
from g3zkp_maint.rotation.standing import Standing


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One type: whether it is rotated, and why or why not. `drops` is the id of a previous key that goes before its
    overlap is over."""

    type: KeyType
    is_due: bool
    why: str
    key_id: str | None
    drops: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """`retires` are the types whose previous key's overlap is over; `unfinished` is an earlier rotation that has to be
    brought to its end first."""

    items: tuple[PlanItem, ...]
    retires: tuple[KeyType, ...]
    unfinished: Record | None = None

    @property
    def due(self) -> tuple[KeyType, ...]:
        return tuple(item.type for item in self.items if item.is_due)

    @property
    def restarts(self) -> tuple[str, ...]:
        """The workloads that one rolling restart goes through."""
        return (MESSENGER,) if self.due or self.unfinished else ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "due": list(self.due),
            "items": [item.as_dict() for item in self.items],
            "retires": list(self.retires),
            "restarts": list(self.restarts),
            "unfinished": None if self.unfinished is None else self.unfinished.model_dump(mode="json"),
        }


def checked_types(types: Sequence[str]) -> tuple[KeyType, ...]:
    """In the order of KEY_TYPES; none given means all. Raises BadInput for one that is none."""
    unknown = sorted(set(types) - set(KEY_TYPES))
    if unknown:
        raise BadInput(f"{', '.join(map(repr, unknown))}: no such key type; there are {', '.join(KEY_TYPES)}")
    return tuple(one for one in KEY_TYPES if not types or one in types)


def plan_rotation(
    standings: Sequence[Standing],
    *,
    types: Collection[KeyType],
    force: bool,
    now: datetime,
    unfinished: Record | None = None,
) -> RotationPlan:
    """`types` are those that may be rotated; with `force` all of them are, due or not."""
    items = tuple(_item(one, force=force, now=now) for one in standings if one.type in types)
    retires = tuple(one.type for one in standings if one.is_retired(now))
    return RotationPlan(items, retires, unfinished)


def _item(one: Standing, *, force: bool, now: datetime) -> PlanItem:
    is_due = one.is_due(now)
    if not is_due and not force:
        return PlanItem(one.type, is_due=False, why=f"next due {_shown(one.next_due)}", key_id=one.key_id)
    drops = one.previous_id if one.has_previous and not one.is_retired(now) else None
    return PlanItem(one.type, is_due=True, why=_why(one) if is_due else "forced", key_id=one.key_id, drops=drops)


def _why(one: Standing) -> str:
    hours = one.every.total_seconds() / 3600
    return one.fault or one.doubt or f"last rotated {_shown(one.last)}, every {hours:g} h"


def _shown(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}Z"
