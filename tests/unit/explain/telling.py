"""Records as runs, beat and reaper write them, for tests of what is told of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord

SUNDAY = datetime(2026, 11, 22, 2, tzinfo=UTC)


@dataclass
class Told:
    """Grows by one record a minute, from `now` on."""

    now: datetime = SUNDAY
    task: str = "backup.run"
    slot: str = "2026-11-22T02:00Z"
    events: list[JournalEvent] = field(default_factory=list)

    def add(self, event: str, **fields: object) -> Told:
        given = {"run": "r1", "task": self.task, "slot": self.slot, "owner": "backup@vm", **fields}
        self.events.append(JournalEvent(event, at=self.now, **given))  # type: ignore[arg-type]
        self.now += timedelta(minutes=1)
        return self

    def beat(self, event: str, entry: str, **facts: object) -> Told:
        return self.add(event, run=f"{entry}:{self.slot}", owner="beat", detail={"entry": entry, **facts})

    def waits(self, times: int = 1, holder: str = "crypto.restore:r9") -> Told:
        for _ in range(times):
            self.add("started")
            told = {"resource": "data", "holder": holder, "next_try": "2026-11-22T02:30:00+00:00", "error": "is held"}
            self.add("waiting", outcome="lease-busy", detail=told)
        return self

    def records(self) -> list[JournalRecord]:
        return [JournalRecord(str(number), number, "", event) for number, event in enumerate(self.events, 1)]
