"""How often something is due, in UTC.

Each cadence numbers its slots: `index` gives the number of the newest slot at or before a moment, `at` the moment of a
number. All else (the next, the latest, how many were missed in a year) is arithmetic on these numbers, so that nothing
walks through time, and the answer after an outage of any length costs the same.

UTC has no daylight saving and `datetime` no leap seconds: a day has 86,400 seconds here, always.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import IntEnum

from g3zkp_maint.errors import BadInput

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
#: The last day that every month has.
_LAST_COMMON_DAY = 28


class Weekday(IntEnum):
    """Numbered as `datetime.weekday` does."""

    MONDAY = 0
    TUESDAY = 1
    WEDNESDAY = 2
    THURSDAY = 3
    FRIDAY = 4
    SATURDAY = 5
    SUNDAY = 6


class Rank(IntEnum):
    """Who runs when several of one group meet in a slot: the highest (design 5, precedence)."""

    FREQUENT = 0
    DAILY = 1
    WEEKLY = 2
    MONTHLY = 3


@dataclass(frozen=True, slots=True)
class Daily:
    """Every day at `at_time` (UTC, whole minutes)."""

    at_time: time

    def __post_init__(self) -> None:
        _check_time(self.at_time)

    @property
    def rank(self) -> Rank:
        return Rank.DAILY

    def index(self, moment: datetime) -> int:
        return (moment - EPOCH - _since_midnight(self.at_time)) // _DAY

    def at(self, index: int) -> datetime:
        return EPOCH + _since_midnight(self.at_time) + index * _DAY

    def __str__(self) -> str:
        return f"daily {self.at_time:%H:%M}"


@dataclass(frozen=True, slots=True)
class Weekly:
    """Every week on `weekday` at `at_time` (UTC, whole minutes)."""

    weekday: Weekday
    at_time: time

    def __post_init__(self) -> None:
        _check_time(self.at_time)

    @property
    def rank(self) -> Rank:
        return Rank.WEEKLY

    def index(self, moment: datetime) -> int:
        return (moment - self._first()) // (7 * _DAY)

    def at(self, index: int) -> datetime:
        return self._first() + index * 7 * _DAY

    def _first(self) -> datetime:
        days = (self.weekday - EPOCH.weekday()) % 7
        return EPOCH + days * _DAY + _since_midnight(self.at_time)

    def __str__(self) -> str:
        return f"{self.weekday.name.capitalize()} {self.at_time:%H:%M}"


@dataclass(frozen=True, slots=True)
class Monthly:
    """Every month on `day` (1 to 28: a day that each month has) at `at_time` (UTC, whole minutes)."""

    day: int
    at_time: time

    def __post_init__(self) -> None:
        _check_time(self.at_time)
        if not 1 <= self.day <= _LAST_COMMON_DAY:
            raise BadInput(f"monthly on day {self.day}: some months lack it; take 1 to {_LAST_COMMON_DAY}")

    @property
    def rank(self) -> Rank:
        return Rank.MONTHLY

    def index(self, moment: datetime) -> int:
        this_month = moment.year * 12 + moment.month - 1
        return this_month if self.at(this_month) <= moment else this_month - 1

    def at(self, index: int) -> datetime:
        year, month = divmod(index, 12)
        return datetime.combine(datetime(year, month + 1, self.day, tzinfo=UTC), self.at_time, UTC)

    def __str__(self) -> str:
        return f"monthly on day {self.day}, {self.at_time:%H:%M}"


@dataclass(frozen=True, slots=True)
class EveryMinutes:
    """Every `minutes`, counted from the full hour; so it must divide 60."""

    minutes: int

    def __post_init__(self) -> None:
        if self.minutes < 1 or 60 % self.minutes:
            raise BadInput(f"every {self.minutes} minutes: must divide 60, or the hours would differ")

    @property
    def rank(self) -> Rank:
        return Rank.FREQUENT

    def index(self, moment: datetime) -> int:
        return (moment - EPOCH) // timedelta(minutes=self.minutes)

    def at(self, index: int) -> datetime:
        return EPOCH + index * timedelta(minutes=self.minutes)

    def __str__(self) -> str:
        return f"every {self.minutes} min"


@dataclass(frozen=True, slots=True)
class EverySeconds:
    """Every `seconds`, counted from the Unix epoch."""

    seconds: int

    def __post_init__(self) -> None:
        if self.seconds < 1:
            raise BadInput(f"every {self.seconds} seconds: must be 1 or more")

    @property
    def rank(self) -> Rank:
        return Rank.FREQUENT

    def index(self, moment: datetime) -> int:
        return (moment - EPOCH) // timedelta(seconds=self.seconds)

    def at(self, index: int) -> datetime:
        return EPOCH + index * timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        return f"every {self.seconds} s"


Cadence = Daily | Weekly | Monthly | EveryMinutes | EverySeconds


def _since_midnight(at_time: time) -> timedelta:
    return timedelta(hours=at_time.hour, minutes=at_time.minute)


def _check_time(at_time: time) -> None:
    if at_time.second or at_time.microsecond or at_time.tzinfo not in (None, UTC):
        raise BadInput(f"time {at_time.isoformat()}: must be in whole minutes, UTC")
