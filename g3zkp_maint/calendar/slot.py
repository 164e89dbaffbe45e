"""A slot: the moment a firing is *for*, as written in messages, run records and the journal.

The text is part of the key under which a run is recorded (design 5), so one moment of one entry has exactly one text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from g3zkp_maint.errors import BadInput

_SHAPE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?Z")


def format_slot(slot: datetime, *, seconds: bool = False) -> str:
    """`2026-11-25T02:00Z`; with `seconds`, or where there are some, `2026-11-25T02:00:00Z`.

    Raises BadInput for a moment that is not aware, not in UTC, or finer than a second.
    """
    if slot.utcoffset() is None or slot.utcoffset() != UTC.utcoffset(None):
        raise BadInput(f"slot {slot.isoformat()} is not in UTC; convert it with astimezone(UTC)")
    if slot.microsecond:
        raise BadInput(f"slot {slot.isoformat()} is finer than a second; no cadence is")
    with_seconds = seconds or slot.second != 0
    return slot.replace(tzinfo=None).isoformat(timespec="seconds" if with_seconds else "minutes") + "Z"


def parse_slot(text: str) -> datetime:
    """The moment that `format_slot` wrote, aware, in UTC. Raises BadInput for any other text."""
    if _SHAPE.fullmatch(text) is None:
        raise BadInput(f"slot {text!r} is not of the form 2026-11-25T02:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"slot {text!r} is no moment: {error}") from error
