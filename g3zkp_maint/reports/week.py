"""A week as reports count them: ISO 8601, from Monday 00:00 UTC on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from g3zkp_maint.errors import BadInput

_SHAPE = re.compile(r"(\d{4})-W(\d{2})")
LENGTH = timedelta(days=7)


@dataclass(frozen=True, slots=True, order=True)
class Week:
    """Ordered by time. `year` is that of ISO 8601: 2026-12-31 is in 2026-W53, 2027-01-03 too."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Week:
        """`2026-W47`. Raises BadInput."""
        match = _SHAPE.fullmatch(text)
        week = cls(int(match[1]), int(match[2])) if match else None
        try:
            if week is not None and week.start:
                return week
        except ValueError:
            pass
        raise BadInput(f"{text!r} is no week; write it as 2026-W47")

    @classmethod
    def of(cls, moment: datetime) -> Week:
        """The week that `moment` (aware) is in."""
        year, number, _ = moment.astimezone(UTC).isocalendar()
        return cls(year, number)

    @property
    def start(self) -> datetime:
        return datetime.combine(date.fromisocalendar(self.year, self.number, 1), datetime.min.time(), UTC)

    @property
    def end(self) -> datetime:
        """The start of the next one."""
        return self.start + LENGTH

    def days(self) -> tuple[datetime, ...]:
        """The starts of its days."""
        return tuple(self.start + timedelta(days=day) for day in range(7))

    def back(self, weeks: int) -> Week:
        """So many weeks before."""
        return Week.of(self.start - weeks * LENGTH)

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"{self.year}-W{self.number:02}"
