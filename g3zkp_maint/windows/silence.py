"""Which silences Alertmanager should have for the windows: pure.

Nothing of them is kept here. A silence is known again by its comment, which names its window: whoever was killed between
making one and noting it has lost nothing, as nothing is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from g3zkp_maint.windows.plan import Occurrence

CREATOR = "g3zkp-maint"
_COMMENT = "maintenance window "

#: A silence is made so long before its window begins, to begin with it.
AHEAD = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Silence:
    """One of ours that is not over, as Alertmanager has it. `id` is '' for one that is to be made."""

    id: str
    window: str
    start: datetime
    end: datetime

    @property
    def comment(self) -> str:
        return _COMMENT + self.window


@dataclass(frozen=True, slots=True)
class SilencePlan:
    """`puts` are made, or changed where they have an id; `lifts` are ended."""

    puts: tuple[Silence, ...] = ()
    lifts: tuple[Silence, ...] = ()


def window_of(comment: str) -> str:
    """The window that a silence of ours is for; '' for another's comment."""
    return comment.removeprefix(_COMMENT) if comment.startswith(_COMMENT) else ""


def plan_silences(plan: Sequence[Occurrence], existing: Sequence[Silence], now: datetime) -> SilencePlan:
    """One for each window that is open or about to be; the others go."""
    wanted = {
        one.window.id: Silence("", one.window.id, max(one.window.start, now), one.window.end)
        for one in plan
        if one.takes_place and one.window.start - AHEAD <= now < one.window.until
    }
    kept = {one.window: one for one in sorted(existing, key=lambda one: one.id, reverse=True) if one.window in wanted}
    lifts = tuple(one for one in existing if kept.get(one.window) != one)
    puts = (_put(wish, kept.get(window), now) for window, wish in sorted(wanted.items()))
    return SilencePlan(tuple(one for one in puts if one is not None), lifts)


def _put(wish: Silence, found: Silence | None, now: datetime) -> Silence | None:
    if found is None:
        return wish
    # One that has begun has begun when it did.
    start = found.start if found.start <= now else wish.start
    if (start, wish.end) == (found.start, found.end):
        return None
    return Silence(found.id, wish.window, start, wish.end)
