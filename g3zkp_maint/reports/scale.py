"""The axis of a chart: round steps that people count in. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from g3zkp_maint.quantity import human_bytes, human_seconds

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_DECIMAL = tuple(digit * 10.0**power for power in range(13) for digit in (1, 2, 5))
_BYTES = tuple(2.0**power for power in range(60))
_SECONDS = (
    *(digit * 10.0**power for power in (-2, -1) for digit in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(count * _MINUTE for count in (1, 2, 5, 10, 15, 30)),
    *(count * _HOUR for count in (1, 2, 3, 6, 12)),
    *(digit * _DAY * 10.0**power for power in range(4) for digit in (1, 2, 5)),
)
#: Intervals on an axis, at most.
_MOST = 4


@dataclass(frozen=True, slots=True)
class Unit:
    """How values are shown, exactly and on an axis, and in which steps an axis goes."""

    show: Callable[[float], str]
    tick: Callable[[float], str]
    steps: tuple[float, ...]


def ticks(highest: float, unit: Unit) -> tuple[float, ...]:
    """From 0 to the first step that is not below `highest`; two of them at least."""
    step = next((one for one in unit.steps if highest <= one * _MOST), unit.steps[-1])
    count = max(1, -int(-highest // step))
    return tuple(step * number for number in range(min(count, _MOST * 1000) + 1))


def _short_bytes(count: float) -> str:
    """1 GiB, without the tenths that a round step does not have."""
    return human_bytes(count).replace(".0 ", " ")


def _short_seconds(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:g}s"
    for size, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if seconds >= size:
            return f"{seconds / size:g}{name}" if seconds % size == 0 else human_seconds(seconds)
    return human_seconds(seconds)


COUNT = Unit(lambda value: f"{value:,.0f}", lambda value: f"{value:,.0f}", _DECIMAL)
BYTES = Unit(human_bytes, _short_bytes, _BYTES)
SECONDS = Unit(human_seconds, _short_seconds, _SECONDS)
MILLISECONDS = Unit(lambda value: f"{value:,.0f} ms", lambda value: f"{value:,.0f} ms", _DECIMAL)
