"""Whether one worker, or one dispatcher of the calendar, does its work: what supervisors ask before they start it again.

Both say so themselves, in Redis, from the loop that does the work (coordination/presence.py), and so the answer costs two
commands. It tells of one process, where a canary tells of a queue. Each pod is asked every few seconds: what is imported here
is paid for all day, and so nothing of the services is.
"""

from __future__ import annotations

from g3zkp_maint.coordination.dispatch import DispatchLedger
from g3zkp_maint.coordination.presence import BEAT, Presence
from g3zkp_maint.errors import NotThere


def worker(presence: Presence, queue: str, name: str, *, within_seconds: float) -> str:
    """A sentence on the worker `name` (`backup@host`) that takes tasks from `queue`. Raises NotThere where it was silent
    for longer than `within_seconds`, CoordinationUnavailable where Redis is away."""
    silent = presence.silence(queue).get(name)
    _require(silent, f"worker {name} takes tasks from queue {queue}", within_seconds)
    return f"worker {name} takes tasks from queue {queue}: said {silent:.0f} s ago"


def beat(presence: Presence, ledger: DispatchLedger, host: str, *, within_seconds: float) -> str:
    """A sentence on the dispatcher of `host`: whether it leads, or stands by. It is there where its last look at the
    calendar, all due messages published, is no older than `within_seconds`. Raises as `worker` does."""
    looks = presence.silence(BEAT)
    own = min((one for one in looks if one.startswith(f"{host}:")), key=looks.__getitem__, default="")
    silent = looks.get(own)
    _require(silent, f"beat of {host} looks at the calendar", within_seconds)
    pulse = ledger.pulse()
    if pulse is None:
        return f"beat {own} stands by, and none leads yet: its last look was {silent:.0f} s ago"
    if pulse.leader == own:
        return f"beat {own} leads: it published all that was due at {pulse.ticked_at:%Y-%m-%dT%H:%M:%SZ}"
    return f"beat {own} stands by for {pulse.leader}: its last look was {silent:.0f} s ago"


def _require(silent: float | None, what: str, within_seconds: float) -> None:
    if silent is None:
        raise NotThere(f"not known that {what}: it never said so, or not within the last hour; see its log")
    if silent > within_seconds:
        raise NotThere(
            f"not known that {what}: it was silent for {silent:.0f} s, more than {within_seconds:g}; see its log"
        )
