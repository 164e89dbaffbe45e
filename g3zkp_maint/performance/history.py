"""Earlier benchmarks, oldest first."""

from __future__ import annotations

from g3zkp_maint.coordination.checkpoint import Checkpoint
from g3zkp_maint.performance.figure import Measurement

_PREFIX = "run:"


def recall(checkpoint: Checkpoint, *, besides: str = "") -> tuple[Measurement, ...]:
    """What of them can be understood, but for that of slot `besides`. Raises CoordinationUnavailable."""
    found = []
    for name, kept in checkpoint.load().items():
        if name == _PREFIX + besides:
            continue
        try:
            found.append(Measurement.of(kept))
        except (KeyError, ValueError, TypeError, AttributeError):  # another version's
            continue
    return tuple(sorted(found, key=lambda one: one.at))


def keep(checkpoint: Checkpoint, slot: str, measurement: Measurement) -> None:
    """In place of what the same slot has measured before. Raises CoordinationUnavailable."""
    checkpoint.save(**{_PREFIX + slot: measurement.as_dict()})
