"""What the journal tells of rotations: one line for each key that was rotated, or taken back. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord
from g3zkp_maint.rotation.entries import KEY_TYPES, KeyType

TASK = "crypto.rotate_keys"
#: Steps of a rotation that tell of keys, and what it means when they ended.
_STEPS: dict[str, Literal["rotated", "taken back"]] = {"commit": "rotated", "undo": "taken back"}


@dataclass(frozen=True, slots=True)
class Turn:
    """One key. `former_id` is the one that it replaced, None where that was not known; `slot` the run that began it."""

    at: datetime
    type: KeyType
    outcome: Literal["rotated", "taken back"]
    key_id: str
    former_id: str | None
    slot: str
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in self.__slots__}, "at": self.at.isoformat()}


def turns(records: Iterable[JournalRecord], *, type: KeyType | None = None) -> list[Turn]:
    """Of `records` of TASK, oldest first. What a run told twice, as it was given out again, is one turn."""
    found: dict[tuple[str, str], Turn] = {}
    for record in records:
        for turn in _turns(record.event):
            if type in {None, turn.type}:
                found.setdefault((turn.key_id, turn.outcome), turn)
    return list(found.values())


def _turns(event: JournalEvent) -> Iterable[Turn]:
    if event.task != TASK or event.event != "finished" or event.step not in _STEPS or event.at is None:
        return
    for one in KEY_TYPES:
        key_id, former_id = event.detail.get(f"{one}_key"), event.detail.get(f"{one}_former")
        if key_id is None:
            continue
        yield Turn(
            at=event.at,
            type=one,
            outcome=_STEPS[event.step],
            key_id=str(key_id),
            former_id=None if former_id is None else str(former_id),
            slot=str(event.detail.get("begun_by", event.slot)),
            why=str(event.detail.get("why", "")),
        )
