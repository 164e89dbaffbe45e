"""Precedence for what did not come from beat: a run enqueued by hand for a slot obeys the calendar too."""

from __future__ import annotations

from collections.abc import Sequence

from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import superseded_by
from g3zkp_maint.calendar.slot import parse_slot
from g3zkp_maint.errors import BadInput


def rival(
    calendar: Sequence[CalendarEntry], *, task: str, args: Sequence[object], slot: str | None
) -> CalendarEntry | None:
    """The entry that runs in `slot` in place of `task` with `args`; None when there is none, or when `slot` is no time
    of the calendar but a caller's key."""
    if slot is None:
        return None
    try:
        at = parse_slot(slot)
    except BadInput:
        return None
    for entry in calendar:
        if entry.task == task and tuple(entry.args) == tuple(args) and entry.fires_at(at):
            return superseded_by(calendar, entry, at)
    return None
