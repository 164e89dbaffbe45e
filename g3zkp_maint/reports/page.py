"""The page of a report: its facts through a template that escapes all it is told. Pure; the same facts, the same bytes.

One file that loads nothing and runs nothing: its policy names the digest of its own sheet, and forbids all else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from g3zkp_maint.explain.told import POLICIES
from g3zkp_maint.quantity import human_bytes, human_seconds
from g3zkp_maint.reports import figures
from g3zkp_maint.reports.attention import counted
from g3zkp_maint.reports.facts import Day, Mark, WeekFacts
from g3zkp_maint.reports.summary import summary
from g3zkp_maint.reports.week import Week

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Cell:
    """A day of an entry: a sign that can be read without its colour, and the whole as text."""

    sign: str
    css: str
    text: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the summary."""

    name: str
    figure: str
    note: str


_SIGNS: dict[Mark, tuple[str, str, str]] = {
    "ok": ("✓", "ok", "ran and is whole"),
    "partial": ("◐", "warn", "ended partial"),
    "failed": ("✗", "bad", "failed"),
    "missed": ("!", "gone", "missed"),
    "open": ("…", "warn", "under way, or in its queue"),
    "superseded": ("→", "", "gave way to a rarer one"),
    "unknown": ("?", "", "from before the journal"),
}
#: Whose sign a day has, where its slots came to different things.
_WORST: tuple[Mark, ...] = ("failed", "missed", "partial", "open", "unknown", "ok", "superseded")
_SENTENCES = {
    "good": "All is well: nothing needs attention.",
    "warn": "It works. These are worth a look.",
    "bad": "Something needs you.",
}


def page(facts: WeekFacts) -> str:
    """The whole page."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    sections = _sections(facts)
    return (
        _environment()
        .get_template("week.html")
        .render(
            facts=facts,
            week_number=Week.parse(facts.week).number,
            style=Markup(style),  # noqa: S704  our own sheet
            style_digest=digest,
            title=summary(facts)[0],
            verdict_sentence=_SENTENCES[facts.verdict],
            sections=sections,
            anchors={anchor for anchor, _ in sections},
            days=[facts.start + timedelta(days=day) for day in range(7)],
            key=_key(facts),
            tiles=_tiles(facts),
            policies=POLICIES,
            charts={
                "runs": figures.runs_by_week(facts),
                "backups": figures.backups_by_week(facts),
                "store": figures.store_by_week(facts),
                "durations": figures.durations(facts),
                "health": figures.health_by_day(facts),
                "latency": figures.latency_by_day(facts),
                "recovery": figures.recovery_by_drill(facts),
                "speed": figures.speed_by_run(facts),
            },
            meters={one.type: figures.key_meter(one) for one in facts.keys or ()},
        )
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("g3zkp_maint.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown: dict[str, Callable[..., Any]] = {
        "bytes": human_bytes,
        "seconds": human_seconds,
        "moment": moment,
        "weekday": lambda at: f"{at:%a} {at.day}",
        "days": lambda seconds: counted(round(seconds / _DAY), "day"),
        "percent": percent,
        "span": span,
        "cell": cell,
    }
    made.filters.update(shown)
    return made


@cache
def _style() -> str:
    source, _, _ = PackageLoader("g3zkp_maint.reports").get_source(_environment(), "style.css")
    return source


# -- as people read it -----------------------------------------------------------------------------------------------------


def moment(at: datetime) -> str:
    """`Sun 22 Nov, 02:00`; the year is that of the report."""
    return f"{at:%a} {at.day} {at:%b, %H:%M}"


def span(start: datetime, end: datetime) -> str:
    """`16 to 22 November 2026`: the first day and the last one."""
    last = end - timedelta(days=1)
    first = f"{start.day}"
    if start.month != last.month:
        first += f" {start:%B}"
    if start.year != last.year:
        first += f" {start.year}"
    return f"{first} to {last.day} {last:%B} {last.year}"


def percent(share: float | None) -> str:
    """Never rounded up to 100 %: what is not whole must not look so."""
    if share is None:
        return "not known"
    text = f"{100 * share:.2f}".rstrip("0").rstrip(".")
    return "99.99 %" if text == "100" and share < 1 else f"{text} %"


def cell(day: Day) -> Cell | None:
    """None for a day without a slot."""
    if not any(day.marks.values()):
        return None
    worst = next(mark for mark in _WORST if day.count(mark))
    sign, css, _ = _SIGNS[worst]
    total = sum(day.marks.values())
    if total > 1:
        sign = f"{day.count('ok')}/{day.due}"
    told = (
        f"{day.count(mark)} {_SIGNS[mark][2]}" if total > 1 else _SIGNS[mark][2] for mark in _WORST if day.count(mark)
    )
    return Cell(sign, css, "; ".join(told))


def _key(facts: WeekFacts) -> list[Cell]:
    """The signs that there are in this week."""
    there = [mark for mark in _SIGNS if any(entry.count(mark) for entry in facts.entries)]
    return [Cell(_SIGNS[mark][0], _SIGNS[mark][1], _SIGNS[mark][2]) for mark in there]


def _sections(facts: WeekFacts) -> list[tuple[str, str]]:
    there = {
        "durations": any(point.durations for point in facts.trend),
        "speed": facts.speed is not None,
        "windows": bool(facts.windows),
        "findings": facts.findings is not None,
    }
    every = [
        ("calendar", "What ran"),
        ("failures", "Missed and failed"),
        ("durations", "Durations"),
        ("storage", "Backups"),
        ("drills", "Drills"),
        ("keys", "Keys"),
        ("health", "Health"),
        ("speed", "Speed"),
        ("windows", "Windows"),
        ("findings", "Security"),
        ("about", "About"),
    ]
    return [(anchor, name) for anchor, name in every if there.get(anchor, True)]


def _tiles(facts: WeekFacts) -> list[Tile]:
    runs = facts.runs
    bad = runs.get("failed", 0) + runs.get("partial", 0)
    found = [
        Tile("Whole runs", f"{runs.get('ok', 0):,}", f"{bad} failed or partial" if bad else "none failed"),
        Tile("Missed slots", f"{facts.missed_count:,}", f"of {sum(entry.due for entry in facts.entries):,} due"),
    ]
    if facts.health is not None:
        share = percent(facts.health.up_share)
        found.append(Tile("Messenger up", share, f"in {facts.health.looks:,} looks"))
    if facts.storage is not None:
        age = facts.made_at - facts.storage.newest_at if facts.storage.newest_at else None
        lacking = "none" if facts.storage.is_judged else "not known"
        shown = human_seconds(age.total_seconds()) if age is not None else lacking
        found.append(
            Tile("Newest backup", shown, "old, whole and believed" if age is not None else "that can be believed")
        )
        found.append(Tile("In the store", human_bytes(facts.storage.bytes), _growth(facts)))
    drill = next((one for one in facts.drills or () if one.is_believed), None)
    if drill is not None:
        took = f"restored in {human_seconds(drill.recovery_seconds)}"
        found.append(Tile("Last drill", "passed" if drill.outcome == "ok" else "failed", took))
    return found


def _growth(facts: WeekFacts) -> str:
    """Against the newest earlier week in which the store was looked at."""
    sizes = [point.store_bytes for point in facts.trend if point.store_bytes is not None]
    if len(sizes) < 2:
        return f"{facts.storage.objects:,} objects" if facts.storage else ""
    more = sizes[-1] - sizes[-2]
    return f"{'+' if more >= 0 else '-'}{human_bytes(abs(more))} since the last report"
