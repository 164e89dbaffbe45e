"""The cleanup fleet: what it does comes with a later version; its tasks are on the calendar and say so."""

from __future__ import annotations

from typing import Any

from workers.task import maintenance_task, not_built
from workers.upkeep import canary_arrived


@maintenance_task("cleanup.run")
def run(self: Any, *, slot: str | None = None) -> Any:
    """Expired messages, proofs and sessions. Not built in this version."""
    return not_built(self, slot, "cleanup of expired data")


@maintenance_task("cleanup.canary", ignore_result=True)
def canary(self: Any, *, slot: str | None = None) -> Any:
    """Shows that this queue is consumed, and how fast."""
    return canary_arrived(self, slot)
