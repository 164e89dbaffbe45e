"""How fast the week's backups were, from the journal."""

from __future__ import annotations

from collections.abc import Iterable

from g3zkp_maint.history import RunLine
from g3zkp_maint.lack import Lack
from g3zkp_maint.performance.figure import Figure, Unit

NAME = "backup.rate"
_TASK = "backup.run"
#: Smaller ones tell how long a plan takes, not how fast bytes go.
_LEAST_BYTES = 1 << 20


def measured(lines: Iterable[RunLine]) -> Figure | Lack:
    """All bytes of the backups among `lines` that ended well, by all the time that they took."""
    backups = [
        one
        for one in lines
        if one.task == _TASK and one.state == "finished" and not one.is_failed and one.bytes >= _LEAST_BYTES
    ]
    seconds = sum(one.seconds for one in backups)
    if not seconds:
        return Lack(NAME, "no backup of a MiB or more ended well in the last week")
    return Figure(NAME, sum(one.bytes for one in backups) / seconds, Unit.BYTES_PER_SECOND)
