"""Times as people type them: `24h` ago, a day, a moment. UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from g3zkp_maint.errors import BadInput

_AGO = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, *, now: datetime) -> datetime:
    """`text` as a time in UTC: `30m`, `24h`, `7d`, `2w` before `now`, or ISO as `2026-11-25` or `2026-11-25T02:00`.

    A time without a zone is UTC. Raises BadInput.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        given = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise BadInput(f"{text!r} is no time; write 24h, 7d, 2026-11-25 or 2026-11-25T02:00") from None
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
