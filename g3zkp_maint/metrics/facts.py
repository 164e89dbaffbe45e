"""What is known besides the journal, as plain data. None stands for what could not be asked, and is left out: a metric is
absent rather than made up. Times are seconds since the epoch, 0 for never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from g3zkp_maint.windows.plan import Occurrence


@dataclass(frozen=True, slots=True)
class DrillFacts:
    """Of the drill evidence that can be believed."""

    at: float
    passed_at: float
    passed: bool
    recovery_seconds: float
    recovery_point_seconds: float


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """`newest` is valid and whole; `invalid` counts manifests that must not be believed, back to the newest whole full
    one. `drill` is None where there is no evidence."""

    objects: int
    bytes: int
    backups: int
    newest_at: float = 0.0
    newest_full_at: float = 0.0
    newest_stored_bytes: int = 0
    is_partial: bool = False
    invalid: int = 0
    drill: DrillFacts | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """How reading a source went: `read_at` the last time it worked, `seconds` of the last try."""

    is_up: bool
    read_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is refreshed in the background; `rotated_at` by key type, `certificates_end` by a certificate's name."""

    store: StoreFacts | None = None
    rotated_at: Mapping[str, float] | None = None
    disk_usage_percent: float | None = None
    windows: tuple[Occurrence, ...] | None = None
    certificates_end: Mapping[str, float] | None = None
