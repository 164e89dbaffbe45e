"""Which calendar entries a run serves. Pure.

A run for a slot serves its entry, and those whose place it took in that slot: on Sunday the full backup stands in for
the incremental one. A run by hand, which is for no slot, serves its entry where its task has only one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import Calendar, superseded_by
from g3zkp_maint.calendar.slot import parse_slot
from g3zkp_maint.errors import BadInput

#: Slots looked at for the longest gap of a cadence: more than a year of months.
_LOOK_AHEAD = 13


@dataclass(frozen=True, slots=True)
class Served:
    """`own` ran, and `names` hold it and those that it stood in for."""

    own: str
    names: frozenset[str]


_NONE = Served("", frozenset())


def served(calendar: Calendar, task: str, slot: str) -> Served:
    """Of a run of `task` for `slot`; own '' and no names where it serves no entry."""
    of_task = [entry for entry in calendar if entry.task == task]
    if not of_task:
        return _NONE
    try:
        moment = parse_slot(slot)
    except BadInput:
        return _by_hand(of_task)
    own = next((one for one in of_task if one.fires_at(moment) and superseded_by(calendar, one, moment) is None), None)
    if own is None:
        return _by_hand(of_task)
    group = [one for one in calendar if one.precedence_group == own.precedence_group]
    return Served(own.name, frozenset(one.name for one in group if one.fires_at(moment)))


def longest_interval(entry: CalendarEntry, now: datetime) -> float:
    """Seconds between two slots of `entry`, at most."""
    first = entry.cadence.index(now)
    slots = [entry.cadence.at(index) for index in range(first, first + _LOOK_AHEAD)]
    return max((after - before).total_seconds() for before, after in pairwise(slots))


def _by_hand(of_task: list[CalendarEntry]) -> Served:
    return Served(of_task[0].name, frozenset({of_task[0].name})) if len(of_task) == 1 else _NONE
