"""One line of the calendar: which task, when, and what happens when its time was missed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from g3zkp_maint.calendar.cadence import Cadence, EverySeconds
from g3zkp_maint.calendar.slot import format_slot
from g3zkp_maint.errors import BadInput

#: What a missed slot leads to. `once`: the newest missed slot runs, however late, the older ones are dropped.
#: `skip`: the newest runs if it is no later than its starting deadline, all others are dropped. `catch_up`: each runs.
Missed = Literal["once", "skip", "catch_up"]
Json = str | int | float | bool | None

#: Names become parts of Redis keys and of iCalendar UIDs.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_TASK = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarEntry:
    """Raises BadInput when it makes no sense.

    `rank` (default: by cadence, monthly over weekly over daily) decides who runs when entries of one `group` (default:
    the task) meet in a slot; the others are superseded. Deadlines and limits are in seconds; None: as in the settings.
    `disruptive` tasks restart something, and so run only inside a maintenance window. Tasks that are not `recorded` keep
    no run records, and so are not in the journal.
    """

    name: str
    task: str
    cadence: Cadence
    why: str
    args: tuple[Json, ...] = ()
    kwargs: Mapping[str, Json] = field(default_factory=dict, hash=False)
    rank: int | None = None
    group: str | None = None
    missed: Missed = "once"
    starting_deadline_seconds: int | None = None
    soft_limit_seconds: int | None = None
    hard_limit_seconds: int | None = None
    disruptive: bool = False
    recorded: bool = True

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise BadInput(f"calendar entry {self.name!r}: a name has small letters, digits and dashes")
        if _TASK.fullmatch(self.task) is None:
            raise BadInput(f"calendar entry {self.name}: task {self.task!r} is not of the form queue.verb")
        if "slot" in self.kwargs:
            raise BadInput(f"calendar entry {self.name}: kwarg 'slot' is given by the dispatcher")
        if (self.soft_limit_seconds is None) != (self.hard_limit_seconds is None):
            raise BadInput(f"calendar entry {self.name}: give both limits or none")
        if (self.soft_limit_seconds or 0) > (self.hard_limit_seconds or 0):
            raise BadInput(f"calendar entry {self.name}: soft limit above the hard limit")

    @property
    def queue(self) -> str:
        """Design 1: routing is by the task's prefix."""
        return self.task.partition(".")[0]

    @property
    def precedence_group(self) -> str:
        return self.group or self.task

    @property
    def precedence(self) -> int:
        return self.cadence.rank if self.rank is None else self.rank

    def fires_at(self, moment: datetime) -> bool:
        return self.cadence.at(self.cadence.index(moment)) == moment

    def slot_text(self, slot: datetime) -> str:
        """The slot as this entry writes it: with seconds only where its cadence has them."""
        return format_slot(slot, seconds=isinstance(self.cadence, EverySeconds))
