"""The last looks at the messenger, in one process: what a live view shows of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from g3zkp_maint.health.instances import WholeReport
from g3zkp_maint.health.state import HealthState, advance, judge
from g3zkp_maint.settings import Health

#: So many looks are remembered.
LOOKS = 60


@dataclass(slots=True)
class Place:
    """One path that is asked: what is wrong with it now ('' nothing), and its latencies in seconds, None for a look that
    failed; oldest first."""

    problem: str = ""
    seconds: deque[float | None] = field(default_factory=lambda: deque(maxlen=LOOKS))

    def answered(self) -> list[float]:
        return [one for one in self.seconds if one is not None]


class History:
    """Looks in a row, their state, and each place's answers: `place` is `(who, path)`, who being '' for the address."""

    def __init__(self, settings: Health, now: datetime) -> None:
        self._settings = settings
        self.state = HealthState.unknown(now)
        self.places: dict[tuple[str, str], Place] = {}

    def add(self, report: WholeReport, at: datetime) -> dict[str, Any]:
        """Takes in a look, and returns it as a document: its own finding, and the state after it."""
        level, problems = judge(report, self._settings)
        self.state = advance(self.state, level, problems, at=at, settings=self._settings)
        asked = [("", report.service), *((one.name, one.health) for one in report.instances)]
        seen = set()
        for who, health in asked:
            for one in health.endpoints if health else ():
                place = self.places.setdefault((who, one.path), Place())
                place.problem = one.problem or ""
                place.seconds.append(one.latency_seconds if one.problem is None else None)
                seen.add((who, one.path))
        # Instances that are gone are not shown for ever.
        self.places = {key: place for key, place in self.places.items() if key in seen}
        return {
            "at": at.isoformat(),
            "found": str(level),
            "state": str(self.state.level),
            "since": self.state.since.isoformat(),
            **report.as_dict(),
            "problems": list(problems),
        }
