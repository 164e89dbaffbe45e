"""How the messenger was in a week, from the looks in the journal. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from g3zkp_maint.calendar.firing import firings
from g3zkp_maint.coordination.journal import JournalEvent
from g3zkp_maint.reports.facts import HealthDay, HealthWeek, Spell
from g3zkp_maint.reports.sources import Sources

TASK = "observe.health"
STEP = "check"
_SHOWN_SPELLS = 30


@dataclass(frozen=True, slots=True)
class _Look:
    """`found` by itself, and the `state` that it led to; `ms` is how long its slowest path took."""

    at: datetime
    found: str
    state: str
    ms: int | None


def health_week(sources: Sources) -> HealthWeek | None:
    """None where the journal holds no look of that week."""
    looks = list(_looks(record.event for record in sources.records))
    own = [look for look in looks if look.at in sources.week]
    if not own:
        return None
    times = _times(own)
    up = sum(look.found != "down" for look in own)
    healthy = sum(look.found == "healthy" for look in own)
    return HealthWeek(
        expected=_expected(sources),
        looks=len(own),
        up_share=up / len(own),
        healthy_share=healthy / len(own),
        median_ms=quantile(times, 0.5),
        p95_ms=quantile(times, 0.95),
        slowest_ms=max(times, default=None),
        days=tuple(_day(start, own) for start in sources.week.days()),
        spells=tuple(_spells(own, looks))[:_SHOWN_SPELLS],
    )


def quantile(values: Iterable[int], share: float) -> int | None:
    """The smallest value that is not below `share` of them; None of none."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _looks(events: Iterable[JournalEvent]) -> Iterator[_Look]:
    for event in events:
        if event.task == TASK and event.step == STEP and event.event == "finished" and event.at is not None:
            ms = event.detail.get("slowest_ms")
            found = str(event.detail.get("found") or ("healthy" if event.outcome == "ok" else "down"))
            state = str(event.detail.get("state") or found)
            yield _Look(event.at, found, state, ms if isinstance(ms, int) else None)


def _times(looks: Iterable[_Look]) -> list[int]:
    """Latencies. What did not answer has none worth the name: it would be how long was waited for it."""
    return [look.ms for look in looks if look.ms is not None and look.found != "down"]


def _expected(sources: Sources) -> int:
    entries = [one for one in sources.calendar if one.task == TASK]
    end = min(sources.week.end, sources.now)
    return sum(one.superseded_by is None for one in firings(sources.calendar, sources.week.start, end, only=entries))


def _day(start: datetime, looks: Sequence[_Look]) -> HealthDay:
    own = [look for look in looks if start <= look.at < start + timedelta(days=1)]
    times = _times(own)
    return HealthDay(
        day=start,
        healthy=sum(look.found == "healthy" for look in own),
        degraded=sum(look.found == "degraded" for look in own),
        down=sum(look.found == "down" for look in own),
        median_ms=quantile(times, 0.5),
        p95_ms=quantile(times, 0.95),
    )


def _spells(own: Sequence[_Look], looks: Sequence[_Look]) -> Iterator[Spell]:
    """Stretches of one state other than healthy that were there in the week; one may end after it."""
    begun: _Look | None = None
    for look in looks:
        if look.at < own[0].at:
            continue
        if begun is not None and look.state != begun.state:
            yield Spell(level=begun.state, since=begun.at, until=look.at)
            begun = None
        if begun is None and look.state != "healthy" and look.at <= own[-1].at:
            begun = look
    if begun is not None:
        yield Spell(level=begun.state, since=begun.at, until=None)
