"""What could not be looked at: it stands in each result beside what was seen, and is never silently left out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lack:
    """`what` it is, and `why` not, each for people."""

    what: str
    why: str
