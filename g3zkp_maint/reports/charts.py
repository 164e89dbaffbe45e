"""Charts as inline SVG: bars in a stack, and lines. Pure: the same figures give the same bytes.

They carry classes and no styles: the page's sheet colours them, for light and dark, and its policy refuses styles inline.
What a series is shows in its form too (`ok` is filled, `warn` hatched, `bad` filled with an edge, `gone` an outline), and
each mark has its figure as a title. All text is escaped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from g3zkp_maint.reports.scale import Unit, ticks

#: In the units of the view box: small, so that letters stay readable where it is as wide as a phone.
WIDTH, HEIGHT = 320, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 12, 24
_GAP = 0.28
#: How wide a letter of a label may be, and the space between two labels.
_LETTER, _BETWEEN = 7.2, 10
_DOT = 2.6

_SVG = Markup('<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{body}</svg>')
_RECT = Markup('<rect class="mark {css}" x="{x}" y="{y}" width="{w}" height="{h}"><title>{title}</title></rect>')
_GRID = Markup('<line class="grid" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>')
_TEXT = Markup('<text class="{css}" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>')
_PATH = Markup('<path class="line {css}" d="{d}"/>')
_CIRCLE = Markup('<circle class="dot {css}" cx="{x}" cy="{y}" r="{r}"><title>{title}</title></circle>')
_SQUARE = Markup('<rect class="dot {css}" x="{x}" y="{y}" width="{r}" height="{r}"><title>{title}</title></rect>')


@dataclass(frozen=True, slots=True)
class Series:
    """One figure for each label, None where there is none. `css` is ok, warn, bad, gone, one or two."""

    name: str
    css: str
    values: tuple[float | None, ...]


def stacked_bars(label: str, labels: Sequence[str], series: Sequence[Series], unit: Unit) -> Markup:
    """A bar for each of `labels`, the first series at its foot. `label` says what the chart shows."""
    heights = [sum(one.values[at] or 0 for one in series) for at in range(len(labels))]
    frame = _Frame(len(labels), ticks(max(heights, default=0), unit), unit)
    parts = [*frame.axis(), *frame.names(labels)]
    for at, name in enumerate(labels):
        foot = 0.0
        for one in series:
            value = one.values[at] or 0
            if value:
                parts.append(frame.bar(at, foot, value, one.css, f"{name}: {one.name} {unit.show(value)}"))
                foot += value
    return _svg(label, parts)


def line_chart(label: str, labels: Sequence[str], series: Sequence[Series], unit: Unit) -> Markup:
    """A line for each series; where a figure lacks it is broken. The dots of every other series are squares."""
    highest = max((value for one in series for value in one.values if value is not None), default=0)
    frame = _Frame(len(labels), ticks(highest, unit), unit)
    parts = [*frame.axis(), *frame.names(labels)]
    for number, one in enumerate(series):
        parts.append(_PATH.format(css=one.css, d=frame.path(one.values)))
        for at, value in enumerate(one.values):
            if value is not None:
                title = f"{labels[at]}: {one.name} {unit.show(value)}"
                parts.append(frame.dot(at, value, one.css, title, is_square=number % 2 == 1))
    return _svg(label, parts)


def meter(label: str, share: float, css: str) -> Markup:
    """How much of something is used up, as a bar; what is above the whole is drawn as the whole."""
    width = _short(max(0.0, min(1.0, share)) * 100)
    body = Markup('<rect class="rail" width="100" height="8" rx="2"/>') + Markup(
        '<rect class="mark {css}" width="{width}" height="8" rx="2"/>'
    ).format(css=css, width=width)
    return Markup(
        '<svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{label}">{body}</svg>'
    ).format(label=label, body=body)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things are. `steps` are the figures of the axis, from 0 up."""

    count: int
    steps: tuple[float, ...]
    unit: Unit

    @property
    def _slot(self) -> float:
        return (WIDTH - _LEFT - _RIGHT) / max(1, self.count)

    def middle(self, at: int) -> float:
        return _LEFT + self._slot * (at + 0.5)

    def level(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / self.steps[-1]

    def axis(self) -> Iterator[Markup]:
        for step in self.steps:
            y = self.level(step)
            yield _GRID.format(x1=_LEFT, x2=WIDTH - _RIGHT, y=_short(y))
            yield _TEXT.format(css="tick", x=_LEFT - 6, y=_short(y + 4), anchor="end", text=self.unit.tick(step))

    def names(self, labels: Sequence[str]) -> Iterator[Markup]:
        """The newest has its name in any case, the others as far as there is room."""
        room = max((len(name) for name in labels), default=0) * _LETTER + _BETWEEN
        every = max(1, math.ceil(room / self._slot))
        for at, name in enumerate(labels):
            if (len(labels) - 1 - at) % every == 0:
                x = _short(min(self.middle(at), WIDTH - len(name) * _LETTER / 2))
                yield _TEXT.format(css="tick", x=x, y=HEIGHT - 6, anchor="middle", text=name)

    def bar(self, at: int, foot: float, value: float, css: str, title: str) -> Markup:
        width = min(34.0, self._slot * (1 - _GAP))
        top, bottom = self.level(foot + value), self.level(foot)
        # A single failure among a thousand is a line of its own, not nothing.
        height = max(1.5, bottom - top)
        x = _short(self.middle(at) - width / 2)
        return _RECT.format(css=css, x=x, y=_short(bottom - height), w=_short(width), h=_short(height), title=title)

    def path(self, values: Sequence[float | None]) -> str:
        drawn = []
        for is_there, group in itertools.groupby(enumerate(values), key=lambda pair: pair[1] is not None):
            if is_there:
                points = [f"{_short(self.middle(at))} {_short(self.level(value or 0))}" for at, value in group]
                drawn.append("M" + " L".join(points))
        return " ".join(drawn)

    def dot(self, at: int, value: float, css: str, title: str, *, is_square: bool) -> Markup:
        x, y = self.middle(at), self.level(value)
        if is_square:
            side = 2 * _DOT
            return _SQUARE.format(css=css, x=_short(x - _DOT), y=_short(y - _DOT), r=_short(side), title=title)
        return _CIRCLE.format(css=css, x=_short(x), y=_short(y), r=_DOT, title=title)


def _svg(label: str, parts: Sequence[Markup]) -> Markup:
    return _SVG.format(width=WIDTH, height=HEIGHT, label=label, body=Markup("").join(parts))


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
