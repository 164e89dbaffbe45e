"""The types of windows, as section 1 of the maintenance protocols has them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Kind(StrEnum):
    """The rarer and longer a type is, the higher it ranks: see `Terms.rank`."""

    SECURITY = "security"
    MINOR = "minor"
    MAJOR = "major"
    INFRASTRUCTURE = "infrastructure"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the protocols promise of a type. `what` and `impact` are what people are told where nothing else is said.

    `rank`: where two windows overlap, the higher takes place and the other is a part of it.
    """

    rank: int
    shortest: timedelta
    longest: timedelta
    notice: timedelta
    cadence: str
    what: str
    impact: str


_RESTARTS = "Parts of the service restart one after another. Sending may take some seconds longer; messages are kept and delivered."
_MINUTES = "The service may not answer for some minutes at a time. Messages are kept and delivered afterwards."
_AWAY = "The service may be away for a part of this time. Messages wait on devices and are sent afterwards."

TERMS = {
    Kind.SECURITY: Terms(
        0,
        timedelta(minutes=15),
        timedelta(minutes=30),
        timedelta(hours=24),
        "as needed",
        "security patches",
        _RESTARTS,
    ),
    Kind.MINOR: Terms(
        1,
        timedelta(minutes=30),
        timedelta(minutes=30),
        timedelta(hours=48),
        "weekly",
        "minor updates and the rotation of keys",
        _RESTARTS,
    ),
    Kind.MAJOR: Terms(
        2, timedelta(hours=1), timedelta(hours=2), timedelta(weeks=1), "monthly", "major updates", _MINUTES
    ),
    Kind.INFRASTRUCTURE: Terms(
        3,
        timedelta(hours=2),
        timedelta(hours=4),
        timedelta(weeks=2),
        "quarterly",
        "work on servers, storage or network",
        _AWAY,
    ),
}
