"""What a report is composed of, as it was gathered: plain data, no port left in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from g3zkp_maint.backup.evidence import Kept
from g3zkp_maint.calendar.firing import Calendar
from g3zkp_maint.coordination.journal import JournalRecord
from g3zkp_maint.metrics.facts import StoreFacts
from g3zkp_maint.reports.facts import CertificatesSeen, Findings, KeyAge, Point, Speed, WindowHeld
from g3zkp_maint.reports.week import Week


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object below the prefix."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Sources:
    """`records` are oldest first: all of the week and after, and of the weeks before what the trend needs; `begins` is the
    time of the journal's oldest record. None: it could not be asked, and `unknown` says why. `before` are the points of
    earlier reports."""

    week: Week
    now: datetime
    product: str
    namespace: str
    calendar: Calendar
    records: Sequence[JournalRecord]
    begins: datetime | None
    objects: Sequence[StoredObject] | None = None
    store: StoreFacts | None = None
    evidence: Sequence[Kept] | None = None
    keys: Sequence[KeyAge] | None = None
    windows: Sequence[WindowHeld] = ()
    findings: Findings | None = None
    speed: Speed | None = None
    certificates: CertificatesSeen | None = None
    before: Sequence[Point] = ()
    unknown: tuple[str, ...] = ()
