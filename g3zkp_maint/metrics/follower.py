"""Follows the journal: what was read once is not read again, however many runs there have been.

How far it came is kept (a Checkpoint), so that a new exporter reads the newest records only, and counters go on where
they were although the journal's cap has taken old records away. Two exporters keep the same: what is kept depends on
the records alone. A journal that was lost or replaced is noticed by the numbers of its records, and counted from its
beginning; so it is when the calendar was changed, as that decides which entry a run is for. Which entries are new to it
is kept: nothing can be overdue before its time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from g3zkp_maint.calendar.firing import Calendar
from g3zkp_maint.coordination.checkpoint import Checkpoint
from g3zkp_maint.coordination.journal import Journal
from g3zkp_maint.metrics.tally import Tally

_FACT = "tally"


class JournalFollower:
    """Not safe for threads; its methods raise CoordinationUnavailable when Redis is away."""

    def __init__(self, journal: Journal, checkpoint: Checkpoint, calendar: Calendar) -> None:
        self._journal = journal
        self._checkpoint = checkpoint
        self._calendar = calendar
        self._fingerprint = _fingerprint(calendar)
        self._tally: Tally | None = None
        self._kept = ""

    @property
    def is_loaded(self) -> bool:
        """Whether the journal was read to its end once; the first time takes long where nothing was kept."""
        return self._tally is not None

    def read_on(self) -> Tally:
        """The tally of all records up to now. It is the same object each time, changed."""
        tally = self._tally or self._load()
        if self._journal.last_number() < tally.number:
            tally = self._anew({})
        tally = self._fold(tally)
        self._tally = tally
        return tally

    def keep(self) -> None:
        """Keeps how far it came, where there is something new."""
        tally = self._tally
        if tally is None or tally.last_id == self._kept:
            return
        self._checkpoint.save(**{_FACT: {"calendar": self._fingerprint, **tally.as_json()}})
        self._kept = tally.last_id

    def _load(self) -> Tally:
        kept = self._checkpoint.load().get(_FACT, {})
        if kept.pop("calendar", None) == self._fingerprint and (tally := Tally.from_json(kept)):
            self._kept = tally.last_id
            return tally
        return self._anew(kept)

    def _anew(self, former: Mapping[str, Any]) -> Tally:
        """One of nothing yet; `former`, as JSON, is what another calendar came to, or another version."""
        names = {entry.name for entry in self._calendar}
        since = former.get("since") or dict.fromkeys(names, 0.0)
        known = {name: since[name] for name in sorted(names & since.keys())}
        # A journal that was lost meanwhile counts from 1 again.
        counted = min(former.get("number", 0), self._journal.last_number())
        return Tally(since=known, awaited=sorted(names - known.keys()), counted=counted)

    def _fold(self, tally: Tally) -> Tally:
        fresh = self._journal.after(tally.last_id)
        for record in fresh:
            if tally.number and record.number <= tally.number:
                # Another journal in the place of the one that was followed.
                return self._fold(self._anew({}))
            tally.fold(record, self._calendar)
            break
        for record in fresh:
            tally.fold(record, self._calendar)
        return tally


def _fingerprint(calendar: Calendar) -> str:
    lines = [f"{one.name} {one.task} {one.precedence_group} {one.precedence} {one.cadence!r}" for one in calendar]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
