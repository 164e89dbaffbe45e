"""Whether a figure has become worse than its history explains. Pure.

Compared is with the median of earlier runs; how far they scatter is told by their median absolute deviation, which one
bad week does not spoil. A figure is worse when it is so by more than the given share *and* lies further off than the
scatter explains: the modified z-score of Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993), with their
limit of 3.5 for many runs. Few runs know their own scatter badly: for n of them the limit is 1 + 8/n times as high, by which
a messenger that only scatters (a tenth, normally) is called worse in less than one figure of a hundred, at any n from 4 on.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from g3zkp_maint.audit.check import Found, Rule
from g3zkp_maint.audit.finding import Finding, Severity
from g3zkp_maint.performance.figure import Figure, Measurement, Unit
from g3zkp_maint.quantity import human_bytes

WORSE = Rule(
    "performance-worse",
    "The messenger is slower than it was",
    Severity.MEDIUM,
    "Each figure of the weekly benchmark, against the median of earlier ones and how far they scatter.",
    "What gets slower each week is down one day.",
    "See what changed since the last good run: a release, the node, the volume, the load.",
)
_Z_LIMIT = 3.5
_Z_FEW = 8
_Z_FACTOR = 0.6745
#: Runs that agree to a hair are no proof of a scatter of 0.
_LEAST_SCATTER = 0.01


@dataclass(frozen=True, slots=True)
class Limits:
    """`share` worse (0.1 is a tenth); compared with at most `runs` earlier ones, and not at all with fewer than `least`."""

    share: float
    runs: int
    least: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure beside the median of `runs` earlier ones. `worse` is the share by which it is (below 0: better)."""

    figure: Figure
    median: float
    runs: int
    worse: float
    z: float

    def is_finding(self, limits: Limits) -> bool:
        return self.worse > limits.share and self.z > _Z_LIMIT * (1 + _Z_FEW / self.runs)


def compare(history: Sequence[Measurement], now: Measurement, limits: Limits) -> tuple[Comparison, ...]:
    """Each figure of `now` that enough of `history` (oldest first) has as well."""
    found = []
    for figure in now.figures:
        values = [value for one in history if (value := one.value(figure.name)) is not None][-limits.runs :]
        if len(values) >= max(limits.least, 1):
            found.append(_compared(figure, values))
    return tuple(found)


def findings(compared: Sequence[Comparison], limits: Limits) -> tuple[Finding, ...]:
    """Of those that have become worse."""
    return tuple(
        WORSE.finding(
            Found(
                one.figure.name,
                f"{shown(one.figure.value, one.figure.unit)}, {one.worse:.0%} worse than the median of "
                f"{one.runs} earlier runs ({shown(one.median, one.figure.unit)})",
            )
        )
        for one in compared
        if one.is_finding(limits)
    )


def shown(value: float, unit: Unit) -> str:
    """As people read it."""
    if unit is Unit.BYTES_PER_SECOND:
        return f"{human_bytes(value)}/s"
    if unit is Unit.PER_SECOND:
        return f"{value:.0f}/s"
    return f"{value * 1000:.2f} ms" if value < 1 else f"{value:.2f} s"


def _compared(figure: Figure, values: Sequence[float]) -> Comparison:
    median = statistics.median(values)
    scatter = max(statistics.median(abs(one - median) for one in values), _LEAST_SCATTER * median)
    off = median - figure.value if figure.unit.more_is_better else figure.value - median
    worse = off / min(figure.value, median) if figure.unit.more_is_better else off / median
    return Comparison(figure, median, len(values), worse, _Z_FACTOR * off / scatter)
