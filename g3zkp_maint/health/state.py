"""In which state the messenger is, as checks have shown it, and what is to be told of it. Pure.

One check is a look; a state is what looks in a row have agreed on. So a single slow answer tells nobody anything, and a
messenger that answers every other time is neither well now nor down then. What people were told is part of the state:
they are told of what differs from it, which a state that came and went while nobody was to be disturbed does not.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, field_serializer, field_validator

from g3zkp_maint.health.instances import WholeReport
from g3zkp_maint.notices.base import Notice, Severity
from g3zkp_maint.settings import Health

_SHOWN_PROBLEMS = 10


class Level(IntEnum):
    """What one look has found, the worst last."""

    HEALTHY = 0
    DEGRADED = 1
    DOWN = 2

    def __str__(self) -> str:
        return self.name.lower()


class HealthState(BaseModel):
    """`level` since `since`; `told` is the level that people know of, told at `told_at`. `bad` counts the looks in a row,
    up to the last one, that were as bad as each level or worse, `good` those as good or better; `at` is the last look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level = Level.HEALTHY
    since: AwareDatetime
    at: AwareDatetime
    told: Level = Level.HEALTHY
    told_at: AwareDatetime
    bad: tuple[int, int, int] = (0, 0, 0)
    good: tuple[int, int, int] = (0, 0, 0)
    problems: tuple[str, ...] = ()

    @field_serializer("level", "told")
    def _by_name(self, level: Level) -> str:
        return str(level)

    @field_validator("level", "told", mode="before")
    @classmethod
    def _of_name(cls, value: Any) -> Any:
        return Level[value.upper()] if isinstance(value, str) else value

    @classmethod
    def unknown(cls, now: datetime) -> HealthState:
        """Before the first look: it is well until something else shows."""
        return cls(since=now, at=now, told_at=now)


def judge(report: WholeReport, settings: Health) -> tuple[Level, tuple[str, ...]]:
    """What a look has found, and why. Down is what its users cannot reach; an instance that lacks, a cluster that cannot be
    asked for them, a page of metrics that does not come and an answer that takes long make it degraded."""
    slow = tuple(
        f"the address {report.service.url} {one.path}: answered after {one.latency_seconds:.1f} s"
        for one in report.service.endpoints
        if one.problem is None and one.latency_seconds > settings.slow_seconds
    )
    problems = (*report.problems, *slow)
    if any(one.problem is not None for one in report.service.endpoints if one.path in {"/health", "/ready"}):
        return Level.DOWN, problems
    return Level.DEGRADED if problems else Level.HEALTHY, problems


def advance(
    state: HealthState, level: Level, problems: tuple[str, ...], *, at: datetime, settings: Health
) -> HealthState:
    """The state after a look. One that is older than the last one says nothing new."""
    if at < state.at:
        return state
    bad = tuple(count + 1 if level >= one else 0 for one, count in zip(Level, state.bad, strict=True))
    good = tuple(count + 1 if level <= one else 0 for one, count in zip(Level, state.good, strict=True))
    after = _level(state.level, bad, good, settings)
    return HealthState(
        level=after,
        since=state.since if after is state.level else at,
        at=at,
        told=state.told,
        told_at=state.told_at,
        bad=_three(bad),
        good=_three(good),
        problems=problems,
    )


def due(state: HealthState, settings: Health) -> Notice | None:
    """What people are to be told now; the same notice, by its key, until `told` says that they were."""
    if state.level is not state.told:
        return _notice(state, f"health:{state.level}:{_stamp(state.since)}", _change(state))
    number = _reminders(state, settings)
    if number == 0 or state.told_at >= state.since + number * timedelta(hours=settings.remind_hours or 0):
        return None
    title = f"The messenger is still {_word(state.level)}, for {_lasting(state.at - state.since)}"
    return _notice(state, f"health:{state.level}:{_stamp(state.since)}:{number}", title)


def told(state: HealthState) -> HealthState:
    """The state once people know."""
    return state.model_copy(update={"told": state.level, "told_at": state.at})


# -- inside ------------------------------------------------------------------------------------------------------------------


def _level(now: Level, bad: tuple[int, ...], good: tuple[int, ...], settings: Health) -> Level:
    if now < Level.DOWN and bad[Level.DOWN] >= settings.down_checks:
        return Level.DOWN
    if now < Level.DEGRADED and bad[Level.DEGRADED] >= settings.degraded_checks:
        return Level.DEGRADED
    better = (level for level in Level if level < now and good[level] >= settings.recover_checks)
    return min(better, default=now)


def _three(counts: tuple[int, ...]) -> tuple[int, int, int]:
    return (counts[0], counts[1], counts[2])


def _reminders(state: HealthState, settings: Health) -> int:
    """How many reminders have come due since the state began."""
    if state.level is Level.HEALTHY or settings.remind_hours is None:
        return 0
    return (state.at - state.since) // timedelta(hours=settings.remind_hours)


def _change(state: HealthState) -> str:
    return f"The messenger is {_word(state.level)}" + (" again" if state.level is Level.HEALTHY else "")


def _notice(state: HealthState, key: str, title: str) -> Notice:
    severity = {Level.HEALTHY: Severity.SUCCESS, Level.DEGRADED: Severity.WARNING, Level.DOWN: Severity.FAILURE}
    more = len(state.problems) - _SHOWN_PROBLEMS
    lines = [
        f"Since {state.since:%Y-%m-%d %H:%M:%S} UTC; it was {state.told} when you were told last.",
        *state.problems[:_SHOWN_PROBLEMS],
        *([f"and {more} more"] if more > 0 else []),
    ]
    return Notice(key, title, "\n".join(lines), severity[state.level], state.since)


def _word(level: Level) -> str:
    return "well" if level is Level.HEALTHY else str(level)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%S.%fZ}"


def _lasting(length: timedelta) -> str:
    minutes = int(length.total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
