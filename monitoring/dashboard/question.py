"""A question of an operator and how Prometheus answers it. One question is one panel; its thresholds are those of the alert
it names, read from the rules, so that a panel turns red when the alert is about to fire.

`$namespace` tells installations apart, as the rules do; where there is only one it matches what has no such label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from g3zkp_maint.metrics.catalog import PREFIX

Shape = Literal["stat", "series", "bars"]


@dataclass(frozen=True, slots=True)
class Query:
    """`legend` is a Grafana template of labels: `{{queue}}`."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Question:
    """`unit` is one of Grafana's. `alert` gives the thresholds, or `limit` does: the value from which on it is bad."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    shape: Shape = "stat"
    alert: str = ""
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Of one topic."""

    title: str
    questions: tuple[Question, ...]


def of(name: str, *matchers: str) -> str:
    """A metric of the installation that is chosen."""
    inside = ",".join(('namespace=~"$namespace"', *matchers))
    return f"{name}{{{inside}}}"


def own(name: str, *matchers: str) -> str:
    """One of the exporter's, by its name without the prefix."""
    return of(PREFIX + name, *matchers)


def age(name: str, *matchers: str) -> str:
    """The seconds since the time that a metric of the exporter tells."""
    return f"time() - {own(name, *matchers)}"
