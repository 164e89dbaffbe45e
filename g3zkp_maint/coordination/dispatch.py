"""What the dispatcher of the calendar keeps in Redis: where each entry stands, and a pulse that others can check.

The lock by which one of several dispatchers leads is RedBeat's; here are the facts that must outlive a leader. An entry
moves on by compare-and-set, *after* its message is published: a leader that dies in between leaves a slot that its
successor publishes again, and the run record of that slot makes the second message harmless. At least once, run once.
Broker and ledger must be one Redis: one that loses its last second then never keeps the move and loses the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
from redis.exceptions import LockError

from g3zkp_maint.calendar.slot import format_slot, parse_slot
from g3zkp_maint.coordination.connection import reaching
from g3zkp_maint.coordination.scripts import Script
from g3zkp_maint.errors import LeaseLost

#: The pulse (hash): leader, ticked_at, published_at, published_entry, published_slot.
TICK_KEY = "g3zkp:beat:tick"

#: RedBeat's own: what it keeps, and there the lock of whoever leads.
REDBEAT_PREFIX = "g3zkp:redbeat:"
LOCK_KEY = f"{REDBEAT_PREFIX}:lock"


def slot_key(entry: str) -> str:
    """Where an entry stands: the slot dispatched last, as text, always with seconds (a cadence may change)."""
    return f"g3zkp:beat:slot:{entry}"


@dataclass(frozen=True, slots=True)
class Pulse:
    """The last sign of life. A dispatcher is alive when `ticked_at` is no older than a few loops: it is written only
    after everything due by then was published. `published_*` tell of the newest message."""

    leader: str
    ticked_at: datetime
    published_at: datetime | None
    published_entry: str | None
    published_slot: str | None


class DispatchLedger:
    """All methods raise CoordinationUnavailable when Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._advance = Script(client, "advance_slot")

    def last_slots(self, entries: Iterable[str]) -> dict[str, datetime]:
        """The slot dispatched last, by entry; an entry that never was is left out. Raises BadInput for alien text."""
        names = list(entries)
        with reaching(self._client, "read where the calendar stands"):
            texts = self._client.mget([slot_key(name) for name in names]) if names else []
        return {name: parse_slot(str(text)) for name, text in zip(names, texts, strict=True) if text is not None}

    def advance(self, entry: str, *, expected: datetime | None, to: datetime) -> None:
        """Moves `entry` from the slot `expected` (None: never dispatched) to the slot `to`.

        Raises LeaseLost when it stands elsewhere: then another dispatcher is at work.
        """
        texts = ["" if expected is None else format_slot(expected, seconds=True), format_slot(to, seconds=True)]
        if not self._advance(f"move {entry} on to {texts[1]}", keys=[slot_key(entry)], args=texts):
            raise LeaseLost(
                f"calendar entry {entry} is no longer at {texts[0] or 'its start'}: another dispatcher moved it; "
                "this one stops and may be started again"
            )

    def forget(self, entries: Iterable[str]) -> None:
        """For entries that left the calendar: should one come back, nothing of the time between was missed."""
        keys = [slot_key(name) for name in entries]
        if not keys:
            return
        with reaching(self._client, "forget calendar entries that are gone"):
            self._client.delete(*keys)

    def record_publish(self, *, entry: str, slot: str, at: datetime) -> None:
        facts: dict[Any, Any] = {"published_entry": entry, "published_slot": slot, "published_at": at.isoformat()}
        with reaching(self._client, "record a publish of the dispatcher"):
            self._client.hset(TICK_KEY, mapping=facts)

    def record_tick(self, *, leader: str, at: datetime) -> None:
        with reaching(self._client, "record a tick of the dispatcher"):
            self._client.hset(TICK_KEY, mapping={"leader": leader, "ticked_at": at.isoformat()})

    def pulse(self) -> Pulse | None:
        """None when no dispatcher ever completed a tick."""
        with reaching(self._client, "read the dispatcher's pulse"):
            facts = {str(key): str(value) for key, value in self._client.hgetall(TICK_KEY).items()}
        if "ticked_at" not in facts:
            return None
        published = facts.get("published_at")
        return Pulse(
            leader=facts["leader"],
            ticked_at=datetime.fromisoformat(facts["ticked_at"]),
            published_at=datetime.fromisoformat(published) if published else None,
            published_entry=facts.get("published_entry"),
            published_slot=facts.get("published_slot"),
        )

    @contextmanager
    def leading(self, purpose: str) -> Iterator[None]:
        """Around calls on the leader's lock. Raises LeaseLost when the lock is another's, or ran out."""
        try:
            with reaching(self._client, purpose):
                yield
        except LockError as error:
            raise LeaseLost(
                f"cannot {purpose}: another dispatcher leads, or the lock ran out; this one stops and may be started "
                "again"
            ) from error
