"""Which steps there are, how far each goes, and which maintenance window it needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from g3zkp_maint.dependencies.version import Change, Version, change
from g3zkp_maint.lack import Lack
from g3zkp_maint.windows.kind import Kind

#: A change that versions do not tell the size of is taken for a small one where only the content behind a tag moved, and
#: looked at by a person anyway.
WINDOW = {Change.PATCH: Kind.SECURITY, Change.MINOR: Kind.MINOR, Change.MAJOR: Kind.MAJOR, Change.UNKNOWN: Kind.MINOR}
_ORDER = (Change.MAJOR, Change.MINOR, Change.UNKNOWN, Change.PATCH)


@dataclass(frozen=True, slots=True)
class Step:
    """From `current` to `newer` of one thing: `kind` is npm, image or python, `where` who uses it."""

    kind: str
    name: str
    current: str
    newer: str
    change: Change
    where: str = ""

    @property
    def window(self) -> Kind:
        return WINDOW[self.change]

    def as_dict(self) -> dict[str, str]:
        return {
            "kind": self.kind,
            "name": self.name,
            "current": self.current,
            "newer": self.newer,
            "change": str(self.change),
            "window": str(self.window),
            "where": self.where,
        }


@dataclass(frozen=True, slots=True)
class DependencyPlan:
    """`looked_at` counts, by kind, what was compared, None where whoever was asked names just what is older; `windows`
    has the next window of each type that a step needs, as far as one is planned."""

    at: datetime
    steps: tuple[Step, ...]
    lacks: tuple[Lack, ...]
    looked_at: Mapping[str, int | None]
    windows: Mapping[Kind, datetime]

    def as_dict(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "steps": [one.as_dict() for one in self.steps],
            "lacks": {one.what: one.why for one in self.lacks},
            "looked_at": dict(self.looked_at),
            "windows": {str(kind): start.isoformat() for kind, start in self.windows.items()},
        }


def step(kind: str, name: str, current: str, newer: str, *, where: str = "") -> Step:
    """With its change, from the versions."""
    one, two = Version.parse(current), Version.parse(newer)
    return Step(kind, name, current, newer, change(one, two) if one and two else Change.UNKNOWN, where)


def plan(
    steps: Iterable[Step],
    lacks: Iterable[Lack],
    looked_at: Mapping[str, int | None],
    starts: Mapping[Kind, datetime],
    *,
    at: datetime,
) -> DependencyPlan:
    """The largest steps first. `starts` has the next planned window by type."""
    ordered = tuple(sorted(steps, key=lambda one: (_ORDER.index(one.change), one.kind, one.name)))
    needed = {one.window for one in ordered}
    return DependencyPlan(
        at, ordered, tuple(lacks), looked_at, {kind: start for kind, start in starts.items() if kind in needed}
    )
