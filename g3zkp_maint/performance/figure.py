"""What one benchmark measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from g3zkp_maint.lack import Lack


class Unit(StrEnum):
    """What a figure counts."""

    SECONDS = "s"
    PER_SECOND = "1/s"
    BYTES_PER_SECOND = "B/s"

    @property
    def more_is_better(self) -> bool:
        return self is not Unit.SECONDS


@dataclass(frozen=True, slots=True)
class Figure:
    """One of them. `name` stays the same from run to run (`health.p95`); `value` is in `unit`, above 0."""

    name: str
    value: float
    unit: Unit


@dataclass(frozen=True, slots=True)
class Measurement:
    """All of one run, at a time that is UTC."""

    at: datetime
    figures: tuple[Figure, ...]
    lacks: tuple[Lack, ...] = ()

    def value(self, name: str) -> float | None:
        return next((one.value for one in self.figures if one.name == name), None)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `at`, `figures` by name with value and unit, `lacks` by what."""
        return {
            "at": self.at.isoformat(),
            "figures": {one.name: {"value": one.value, "unit": str(one.unit)} for one in self.figures},
            "lacks": {one.what: one.why for one in self.lacks},
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Measurement:
        """From `as_dict`. Raises KeyError, ValueError, TypeError for what is none."""
        figures = document["figures"].items()
        return cls(
            datetime.fromisoformat(document["at"]),
            tuple(Figure(name, float(one["value"]), Unit(one["unit"])) for name, one in figures),
            tuple(Lack(what, why) for what, why in document["lacks"].items()),
        )
