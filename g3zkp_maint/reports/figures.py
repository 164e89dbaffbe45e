"""The charts of a report, from its facts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from g3zkp_maint.reports.charts import Series, line_chart, meter, stacked_bars
from g3zkp_maint.reports.facts import KeyAge, Point, WeekFacts
from g3zkp_maint.reports.scale import BYTES, COUNT, MILLISECONDS, SECONDS, Unit

#: Tasks whose durations have a chart; those that take longest.
_MOST_TASKS = 6


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its caption, its legend (name and class of each series), and the same figures as a table: `head` and
    `rows`, which whoever cannot see the chart reads."""

    caption: str
    chart: Markup
    legend: tuple[tuple[str, str], ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_line: bool = False


def runs_by_week(facts: WeekFacts) -> Figure | None:
    """None of a single week: there is nothing to compare."""
    points = facts.trend
    if len(points) < 2:
        return None
    series = [
        Series("ok", "ok", tuple(point.runs.get("ok", 0) for point in points)),
        Series("partial", "warn", tuple(point.runs.get("partial", 0) for point in points)),
        Series("failed", "bad", tuple(point.runs.get("failed", 0) for point in points)),
        Series("missed", "gone", tuple(point.missed for point in points)),
    ]
    shown = [one for one in series if any(one.values)]
    return _figure("Runs by week", _weeks(points), shown, COUNT, stacked_bars)


def backups_by_week(facts: WeekFacts) -> Figure | None:
    """What the backups of each week take in the store now."""
    points = facts.trend
    if not any(point.backup_bytes for point in points):
        return None
    series = [Series("stored", "one", tuple(point.backup_bytes for point in points))]
    return _figure("What the backups of each week take", _weeks(points), series, BYTES, stacked_bars)


def store_by_week(facts: WeekFacts) -> Figure | None:
    """The whole store, as each report found it; None until there are two."""
    values = tuple(point.store_bytes for point in facts.trend)
    if sum(value is not None for value in values) < 2:
        return None
    return _figure("The whole store", _weeks(facts.trend), [Series("size", "one", values)], BYTES, line_chart)


def durations(facts: WeekFacts) -> tuple[Figure, ...]:
    """By task, those that take longest first."""
    longest: dict[str, float] = {}
    for point in facts.trend:
        for task, seen in point.durations.items():
            longest[task] = max(longest.get(task, 0.0), seen.longest)
    chosen = sorted(longest, key=lambda task: (-longest[task], task))[:_MOST_TASKS]
    return tuple(_duration(task, facts.trend) for task in chosen)


def _duration(task: str, points: Sequence[Point]) -> Figure:
    seen = [point.durations.get(task) for point in points]
    series = [
        Series("median", "one", tuple(one.median if one else None for one in seen)),
        Series("longest", "two", tuple(one.longest if one else None for one in seen)),
    ]
    return _figure(task, _weeks(points), series, SECONDS, line_chart)


def health_by_day(facts: WeekFacts) -> Figure | None:
    """What the looks of each day found."""
    if facts.health is None:
        return None
    days = facts.health.days
    series = [
        Series("healthy", "ok", tuple(day.healthy for day in days)),
        Series("degraded", "warn", tuple(day.degraded for day in days)),
        Series("down", "bad", tuple(day.down for day in days)),
    ]
    shown = [one for one in series if any(one.values)]
    return _figure("Looks at the messenger", [f"{day.day:%a}" for day in days], shown, COUNT, stacked_bars)


def latency_by_day(facts: WeekFacts) -> Figure | None:
    """How fast it answered."""
    if facts.health is None or facts.health.p95_ms is None:
        return None
    days = facts.health.days
    series = [
        Series("median", "one", tuple(day.median_ms for day in days)),
        Series("95 %", "two", tuple(day.p95_ms for day in days)),
    ]
    return _figure("Time to answer", [f"{day.day:%a}" for day in days], series, MILLISECONDS, line_chart)


def speed_by_run(facts: WeekFacts) -> Figure | None:
    """How fast the messenger answered in each benchmark; None until there are two."""
    runs = facts.speed.runs if facts.speed else ()
    if len(runs) < 2:
        return None
    series = [
        Series("/health", "one", tuple(one.health_ms for one in runs)),
        Series("/ready", "two", tuple(one.ready_ms for one in runs)),
    ]
    labels = [f"{one.at:%d %b}" for one in runs]
    return _figure("95 % of answers within, by benchmark", labels, series, MILLISECONDS, line_chart)


def recovery_by_drill(facts: WeekFacts) -> Figure | None:
    """How long each drill took to restore everything, oldest first."""
    drills = [one for one in reversed(facts.drills or ()) if one.at is not None][-12:]
    if len(drills) < 2:
        return None
    labels = [f"{one.at:%d %b}" for one in drills]
    series = [
        Series("passed", "ok", tuple(one.recovery_seconds if one.outcome == "ok" else None for one in drills)),
        Series("failed", "bad", tuple(one.recovery_seconds if one.outcome != "ok" else None for one in drills)),
    ]
    shown = [one for one in series if any(value is not None for value in one.values)]
    return _figure("Time to restore everything", labels, shown, SECONDS, stacked_bars)


def key_meter(key: KeyAge) -> Markup:
    """How much of its time a key has served."""
    if key.age_seconds is None or not key.every_seconds:
        return Markup("")
    share = key.age_seconds / key.every_seconds
    return meter(f"{100 * share:.0f} % of its time", share, "bad" if share > 1.25 else "warn" if key.due else "ok")


def _figure(
    caption: str,
    labels: Sequence[str],
    series: Sequence[Series],
    unit: Unit,
    draw: Callable[[str, Sequence[str], Sequence[Series], Unit], Markup],
) -> Figure:
    rows = tuple(
        (name, *("-" if one.values[at] is None else unit.show(one.values[at] or 0) for one in series))
        for at, name in enumerate(labels)
    )
    return Figure(
        caption=caption,
        chart=draw(f"{caption}; the figures are in the table below", labels, series, unit),
        legend=tuple((one.name, one.css) for one in series) if len(series) > 1 else (),
        head=("", *(one.name for one in series)),
        rows=rows,
        is_line=draw is line_chart,
    )


def _weeks(points: Sequence[Point]) -> list[str]:
    return [point.week.partition("-")[2] for point in points]
