"""The one rolling restart of a rotation, and its way back; which one it is, a checkpoint knows.

A checkpoint that says `asked` was written before the restart: whether there was one is not known then, and it is asked
for again. `refused`: the platform said no, so there is nothing to undo.
"""

from __future__ import annotations

from typing import Any

from g3zkp_maint.coordination.checkpoint import Checkpoint
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import Conflict, PermanentError
from g3zkp_maint.platforms.base import MESSENGER, Platform, Rollout
from g3zkp_maint.rotation.record import Record

_ASKED, _REFUSED, _FORWARD, _BACK = "asked", "refused", "forward", "back"


class Rollouts:
    """`forward_seconds` is how long the restart may take, `back_seconds` the way back: there, pods of which nobody knows
    why they hang have to end first."""

    def __init__(
        self,
        platform: Platform,
        checkpoint: Checkpoint,
        guard: Guard,
        *,
        forward_seconds: float,
        back_seconds: float,
    ) -> None:
        self._platform = platform
        self._checkpoint = checkpoint
        self._guard = guard
        self._seconds = {_FORWARD: forward_seconds, _BACK: back_seconds}

    def forward(self, record: Record) -> None:
        """Restarts the messenger once for the keys of `record`, and waits until every instance is new and ready.
        Raises DeadlineExceeded, PlatformError."""
        rollout = self._known(record, _FORWARD) or self._restart(record, _FORWARD)
        self._wait(record, rollout, _FORWARD)

    def back(self, record: Record) -> None:
        """Brings back the pods of before `forward`, where it did anything, and waits for them."""
        if self._state(record) == _REFUSED:
            return
        rollout = self._known(record, _BACK) or self._undone(record)
        self._wait(record, rollout, _BACK)

    def again(self, record: Record) -> None:
        """On the way back: one more restart, of instances that still use what is no longer in the Secret."""
        self._wait(record, self._restart(record, _BACK), _BACK)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _wait(self, record: Record, rollout: Rollout, way: str) -> None:
        try:
            self._platform.wait(rollout, self._seconds[way])
        except Conflict:
            # Somebody else restarted it meanwhile. Which keys those pods started with is not known: once more.
            self._platform.wait(self._restart(record, way), self._seconds[way])

    def _restart(self, record: Record, way: str) -> Rollout:
        self._guard.verify()
        self._save(record, _ASKED)
        try:
            rollout = self._platform.restart((MESSENGER,))
        except PermanentError:
            self._save(record, _REFUSED)
            raise
        self._save(record, way, rollout)
        return rollout

    def _undone(self, record: Record) -> Rollout:
        forward = self._known(record, _FORWARD)
        if forward is None:
            return self._restart(record, _BACK)
        self._guard.verify()
        try:
            rollout = self._platform.undo(forward)
        except Conflict:
            return self._restart(record, _BACK)
        self._save(record, _BACK, rollout)
        return rollout

    def _state(self, record: Record) -> str:
        facts = self._facts(record)
        return str(facts.get("state", ""))

    def _known(self, record: Record, way: str) -> Rollout | None:
        facts = self._facts(record)
        if facts.get("state") != way:
            return None
        return Rollout(tuple(facts["workloads"]), facts["revision"], facts["previous"])

    def _facts(self, record: Record) -> dict[str, Any]:
        facts: dict[str, Any] = self._checkpoint.load().get("rollout") or {}
        return facts if facts.get("keys") == _mark(record) else {}

    def _save(self, record: Record, state: str, rollout: Rollout | None = None) -> None:
        facts: dict[str, Any] = {"keys": _mark(record), "state": state}
        if rollout is not None:
            facts["workloads"] = list(rollout.workloads)
            facts |= {"revision": dict(rollout.revision), "previous": dict(rollout.previous)}
        self._checkpoint.save(rollout=facts)


def _mark(record: Record) -> list[str]:
    """The ids of the new keys: no other rotation ever has the same."""
    return [change.key_id for change in record.changes]
