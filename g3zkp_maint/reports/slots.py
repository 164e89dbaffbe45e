"""What became of the calendar's slots in a week: the calendar against the journal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import Firing, firings
from g3zkp_maint.history import RunLine
from g3zkp_maint.reports.facts import Day, EntryWeek, Mark, Missed
from g3zkp_maint.reports.sources import Sources
from g3zkp_maint.reports.week import Week

#: A slot is called missed when nothing began for so long after it, unless its entry says another time.
_PATIENCE = timedelta(hours=1)
_SHOWN_SLOTS = 20


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of the week that is over, and what became of it."""

    entry: CalendarEntry
    at: datetime
    mark: Mark


def judged_slots(sources: Sources, lines: Mapping[tuple[str, str], RunLine]) -> list[Slot]:
    """All slots of the week up to now, of entries that keep records. `lines` are runs by task and slot."""
    end = min(sources.week.end, sources.now)
    sent = _sent(sources)
    recorded = [entry for entry in sources.calendar if entry.recorded]
    found = firings(sources.calendar, sources.week.start, end, only=recorded)
    return [Slot(one.entry, one.slot, _mark(one, sources, lines, sent)) for one in found]


def entry_weeks(sources: Sources, slots: Sequence[Slot]) -> tuple[EntryWeek, ...]:
    """In the calendar's order; those that have no slot in the week are left out."""
    return tuple(_entry_week(entry, sources.week, own) for entry, own in _by_entry(slots))


def missed(slots: Sequence[Slot]) -> tuple[Missed, ...]:
    """By entry, in the calendar's order."""
    return tuple(_missed(entry, own) for entry, own in _by_entry([one for one in slots if one.mark == "missed"]))


def mark_of(line: RunLine) -> Mark:
    """What a run came to."""
    if line.state == "failed":
        return "failed"
    if line.state == "finished":
        return "ok" if line.outcome in {"", "ok"} else "partial"
    return "superseded" if line.state == "superseded" else "open"


def _sent(sources: Sources) -> set[tuple[str, str]]:
    """Entry and slot of what beat published."""
    events = (record.event for record in sources.records)
    return {(str(one.detail.get("entry")), one.slot) for one in events if one.event == "published"}


def _mark(
    firing: Firing, sources: Sources, lines: Mapping[tuple[str, str], RunLine], sent: set[tuple[str, str]]
) -> Mark:
    if firing.superseded_by is not None:
        return "superseded"
    entry, slot = firing.entry, firing.slot
    line = lines.get((entry.task, entry.slot_text(slot)))
    if line is not None:
        return mark_of(line)
    if sources.begins is None or slot < sources.begins:
        return "unknown"
    limit = entry.starting_deadline_seconds
    patience = _PATIENCE if limit is None else timedelta(seconds=limit)
    # What is of no use late has expired in its queue; all else still waits there.
    waits = (entry.name, entry.slot_text(slot)) in sent and entry.missed != "skip"
    return "open" if waits or sources.now - slot < patience else "missed"


def _by_entry(slots: Sequence[Slot]) -> Iterator[tuple[CalendarEntry, list[Slot]]]:
    own: dict[str, list[Slot]] = {}
    for slot in slots:
        own.setdefault(slot.entry.name, []).append(slot)
    for found in own.values():
        yield found[0].entry, found


def _entry_week(entry: CalendarEntry, week: Week, slots: Sequence[Slot]) -> EntryWeek:
    counted: dict[datetime, Counter[Mark]] = {day: Counter() for day in week.days()}
    for slot in slots:
        counted[slot.at.replace(hour=0, minute=0, second=0)][slot.mark] += 1
    days = tuple(Day(day=day, marks=dict(marks)) for day, marks in counted.items())
    return EntryWeek(
        name=entry.name,
        task=entry.task,
        cadence=str(entry.cadence),
        why=entry.why,
        policy=entry.missed,
        days=days,
    )


def _missed(entry: CalendarEntry, slots: Sequence[Slot]) -> Missed:
    texts = [entry.slot_text(slot.at) for slot in slots]
    more = max(0, len(texts) - _SHOWN_SLOTS)
    return Missed(entry=entry.name, policy=entry.missed, slots=tuple(texts[:_SHOWN_SLOTS]), more=more)
