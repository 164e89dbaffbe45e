"""A report in a few lines of text: for notices, and for a terminal. Pure."""

from __future__ import annotations

from g3zkp_maint.quantity import human_bytes
from g3zkp_maint.reports.attention import counted
from g3zkp_maint.reports.facts import WeekFacts

_SHOWN = 10
_WORDS = {"good": "all is well", "warn": "something to look at", "bad": "action needed"}


def summary(facts: WeekFacts) -> list[str]:
    """The first line is a title."""
    lines = [f"Maintenance in week {facts.week}: {_WORDS[facts.verdict]}", _runs(facts)]
    if facts.health is not None and facts.health.up_share is not None:
        lines.append(f"Messenger: up in {100 * facts.health.up_share:.2f} % of {facts.health.looks} looks")
    if facts.storage is not None:
        backups = f", {counted(facts.storage.backups, 'backup')}" if facts.storage.is_judged else ""
        lines.append(f"Store: {human_bytes(facts.storage.bytes)}{backups}")
    marks = {"bad": "!", "warn": "-"}
    lines += [f"{marks[one.urgency]} {one.text}" for one in facts.attention[:_SHOWN]]
    more = len(facts.attention) - _SHOWN
    return lines + ([f"and {more} more"] if more > 0 else [])


def _runs(facts: WeekFacts) -> str:
    bad = [f"{facts.runs[word]} {word}" for word in ("partial", "failed") if facts.runs.get(word)]
    told = ", ".join([f"{facts.runs.get('ok', 0)} ok", *bad])
    return f"Runs: {told}; {counted(facts.missed_count, 'slot')} missed"
