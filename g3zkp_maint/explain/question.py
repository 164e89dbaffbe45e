"""What is asked: a task, or an entry of the calendar, and a slot, as people type them. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import Calendar, latest_slot, next_slot
from g3zkp_maint.calendar.slot import format_slot
from g3zkp_maint.errors import BadInput

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?(Z|\+00:00)?")
_LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Question:
    """`entries` are those that may be meant, () for a task that is not on the calendar; `moment` is None where `slot` is
    no time but a caller's key."""

    task: str
    entries: tuple[CalendarEntry, ...]
    slot: str
    moment: datetime | None

    @property
    def slots(self) -> frozenset[str]:
        """The texts that the slot may have in the journal."""
        if self.moment is None:
            return frozenset({self.slot})
        return frozenset({format_slot(self.moment), format_slot(self.moment, seconds=True)})

    def concerns(self, fields: Mapping[str, str]) -> bool:
        """Whether a record with these fields may matter to the answer."""
        # A run that gave way has a task of its own: `backup.run-incremental`.
        if fields["task"].partition("-")[0] != self.task:
            return False
        return fields["slot"] in self.slots or fields["event"] == "missed"


def question(task: str, slot: str, calendar: Calendar, now: datetime) -> Question:
    """Raises BadInput for a day on which the task has several slots, and for `latest` of what is not on the calendar."""
    entries = tuple(one for one in calendar if task in {one.name, one.task})
    named = entries[0].task if entries else task
    moment = _moment(slot, named, entries, now)
    return Question(named, entries, slot if moment is None else _text(entries, moment), moment)


def nearest(entries: Sequence[CalendarEntry], moment: datetime) -> tuple[str, str]:
    """The last slot of any of `entries` before `moment` and the first one after it, '' where there are no entries."""
    if not entries:
        return "", ""
    instant = timedelta(microseconds=1)
    before = max(((latest_slot(one, moment - instant), one) for one in entries), key=lambda pair: pair[0])
    after = min(((next_slot(one, moment), one) for one in entries), key=lambda pair: pair[0])
    return before[1].slot_text(before[0]), after[1].slot_text(after[0])


def unknown_slot(asked: Question, now: datetime) -> BadInput:
    """The error for a slot that is no time, and that no run was for."""
    before, after = nearest(asked.entries, now)
    hint = f"the last one is {before}, the next {after}" if before else "`g3zkp-maint runs --json` lists those that ran"
    return BadInput(f"{asked.slot!r} is no slot of {asked.task}: write it as 2026-11-22T02:00, or latest; {hint}")


def unknown_task(asked: Question, calendar: Calendar) -> BadInput:
    """The error for a task that is not on the calendar, and of which no run was for that slot."""
    names = sorted({name for one in calendar for name in (one.name, one.task)})
    close = difflib.get_close_matches(asked.task, names, n=3) or names
    return BadInput(
        f"the journal holds no run of {asked.task!r} for {asked.slot!r}, and the calendar has no such task; it has "
        f"{', '.join(close)}"
    )


def _moment(slot: str, task: str, entries: Sequence[CalendarEntry], now: datetime) -> datetime | None:
    if slot == _LATEST:
        if not entries:
            raise BadInput(f"{task} is not on the calendar, and so has no latest slot; give the slot of its run")
        return max(latest_slot(one, now) for one in entries)
    try:
        if _DAY.fullmatch(slot):
            return _of_day(datetime.fromisoformat(slot).replace(tzinfo=UTC), task, entries)
        if _MOMENT.fullmatch(slot):
            return datetime.fromisoformat(slot).replace(tzinfo=UTC)
    except ValueError as error:
        raise BadInput(f"{slot!r} is no time: {error}; write it as 2026-11-22T02:00") from None
    return None


def _of_day(day: datetime, task: str, entries: Sequence[CalendarEntry]) -> datetime:
    """The one slot of that day; its beginning, where it has none."""
    instant = timedelta(microseconds=1)
    firsts = {next_slot(one, day - instant) for one in entries}
    found = sorted(one for one in firsts if one < day + timedelta(days=1))
    later = {next_slot(one, found[0]) for one in entries} if found else set()
    more = sorted(one for one in later | set(found[1:]) if one < day + timedelta(days=1))
    if more:
        raise BadInput(
            f"{task} has several slots on {day:%Y-%m-%d}: {format_slot(found[0])}, {format_slot(more[0])}, …; name one"
        )
    return found[0] if found else day


def _text(entries: Sequence[CalendarEntry], moment: datetime) -> str:
    own = next((one for one in entries if one.fires_at(moment)), None)
    return own.slot_text(moment) if own else format_slot(moment)
