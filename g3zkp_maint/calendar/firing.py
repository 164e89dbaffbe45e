"""Which slots of a calendar run, which are superseded, and what a dispatcher owes after an absence.

A calendar is a sequence of entries. Where two of one group and one rank meet in a slot, the earlier in the calendar
runs: exactly one of a group runs in any slot, whatever the ranks.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from g3zkp_maint.calendar.entry import CalendarEntry

#: Slots that `catch_up` runs at most after one absence; what is older is dropped, and the plan says so.
CATCH_UP_LIMIT = 1000

_INSTANT = timedelta(microseconds=1)

Calendar = Sequence[CalendarEntry]


@dataclass(frozen=True, slots=True)
class Firing:
    """`slot` of `entry`; it runs unless another entry takes the slot."""

    entry: CalendarEntry
    slot: datetime
    superseded_by: CalendarEntry | None = None


@dataclass(frozen=True, slots=True)
class DuePlan:
    """What is due of one entry between the slot dispatched last and now.

    `firings`, oldest first, are to be published, or recorded as superseded. `dropped` counts the slots from
    `first_dropped` on that the policy gives up. `last` is where the entry stands, `newest` where it will when the plan
    is carried out. `was_missed`: more than a single slot, on time.
    """

    entry: CalendarEntry
    last: datetime
    newest: datetime
    firings: tuple[Firing, ...] = ()
    dropped: int = 0
    first_dropped: datetime | None = None
    was_missed: bool = False

    @property
    def oldest(self) -> datetime:
        return self.firings[0].slot if self.firings else self.newest


def latest_slot(entry: CalendarEntry, now: datetime) -> datetime:
    """The newest slot at or before `now`."""
    return entry.cadence.at(entry.cadence.index(now))


def next_slot(entry: CalendarEntry, after: datetime) -> datetime:
    """The first slot later than `after`."""
    return entry.cadence.at(entry.cadence.index(after) + 1)


def slot_before(entry: CalendarEntry, now: datetime) -> datetime:
    """The newest slot earlier than `now`: where an entry stands that is seen for the first time."""
    return latest_slot(entry, now - _INSTANT)


def rivals(calendar: Calendar, entry: CalendarEntry) -> tuple[CalendarEntry, ...]:
    """The entries of the group of `entry` that take a slot from it where they meet, the strongest first."""
    strength = {one.name: (one.precedence, -position) for position, one in enumerate(calendar)}
    group = entry.precedence_group
    own = strength.get(entry.name, (entry.precedence, -len(calendar)))
    stronger = [one for one in calendar if one.precedence_group == group and strength[one.name] > own]
    return tuple(sorted(stronger, key=lambda one: strength[one.name], reverse=True))


def superseded_by(calendar: Calendar, entry: CalendarEntry, slot: datetime) -> CalendarEntry | None:
    """The entry of the same group that runs in `slot` in place of `entry`; None when `entry` itself runs."""
    return next((one for one in rivals(calendar, entry) if one.fires_at(slot)), None)


def firings(
    calendar: Calendar, start: datetime, end: datetime, *, only: Iterable[CalendarEntry] | None = None
) -> Iterator[Firing]:
    """All firings with start <= slot < end, by slot, then in the calendar's order, superseded ones marked.

    `only` leaves out the firings of other entries, which supersede as before.
    """
    names = {entry.name for entry in (calendar if only is None else only)}
    chosen = [entry for entry in calendar if entry.name in names]
    against = [rivals(calendar, entry) for entry in chosen]
    streams = [_slots(entry, position, start, end) for position, entry in enumerate(chosen)]
    for slot, position in heapq.merge(*streams):
        yield Firing(chosen[position], slot, next((one for one in against[position] if one.fires_at(slot)), None))


def missed_slots(
    calendar: Calendar, entry: CalendarEntry, *, last: datetime, now: datetime, starting_deadline_seconds: float
) -> DuePlan | None:
    """What `entry` owes at `now` when `last` was its slot dispatched last; None when nothing.

    `once` and `skip` look at the newest slot alone: where that is superseded, the run that takes its place covers the
    older ones as well. `starting_deadline_seconds` holds for entries that name none.
    """
    count = entry.cadence.index(now) - entry.cadence.index(last)
    if count <= 0:
        return None
    late = now - latest_slot(entry, now) > starting_deadline(entry, starting_deadline_seconds)
    kept = _kept(entry, count, late=late)
    first = entry.cadence.index(now) - kept + 1
    slots = [entry.cadence.at(index) for index in range(first, first + kept)]
    dropped = count - kept
    return DuePlan(
        entry=entry,
        last=last,
        newest=latest_slot(entry, now),
        firings=tuple(Firing(entry, slot, superseded_by(calendar, entry, slot)) for slot in slots),
        dropped=dropped,
        first_dropped=next_slot(entry, last) if dropped else None,
        was_missed=count > 1 or late,
    )


def starting_deadline(entry: CalendarEntry, default_seconds: float) -> timedelta:
    """How late a slot of `entry` may start and still count as on time."""
    own = entry.starting_deadline_seconds
    return timedelta(seconds=default_seconds if own is None else own)


def _kept(entry: CalendarEntry, count: int, *, late: bool) -> int:
    if entry.missed == "catch_up":
        return min(count, CATCH_UP_LIMIT)
    return 0 if entry.missed == "skip" and late else 1


def _slots(entry: CalendarEntry, position: int, start: datetime, end: datetime) -> Iterator[tuple[datetime, int]]:
    slot = next_slot(entry, start - _INSTANT)
    while slot < end:
        yield slot, position
        slot = next_slot(entry, slot)
