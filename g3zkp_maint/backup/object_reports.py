"""What became of the cluster's objects in a restore, one by one: over all its attempts, by names and never by values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from g3zkp_maint.backup.object_plan import Outcome
from g3zkp_maint.coordination.checkpoint import Checkpoint

_FACT = "object "
#: As many as a result lists, those first that somebody must look at.
_LISTED = 500
_ORDER = (Outcome.REFUSED, Outcome.CREATED, Outcome.CHANGED)


@dataclass(frozen=True, slots=True)
class ObjectReport:
    """What became of one object, or would. No value of it is in here. `reason`: why it is refused, or what of it is
    other than in the backup all the same, or else which fields were."""

    object: str
    outcome: Outcome
    reason: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"object": self.object, "outcome": str(self.outcome), "reason": self.reason}


class ObjectReports:
    """Those of one restore, kept in its checkpoint as they come: an attempt that takes over finds as it shall be what the
    one before it has made, and must not call it the same as ever."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        facts = checkpoint.load().items()
        self._before = {name.removeprefix(_FACT): _read(fact) for name, fact in facts if name.startswith(_FACT)}
        self._kept = dict(self._before)

    def record(self, report: ObjectReport) -> ObjectReport:
        """Returns it with what the attempts before have done. Recorded twice in an attempt, the later word counts: what
        is going to be done may so be recorded before."""
        joined = _joined(self._before.get(report.object), report)
        known = self._kept.get(report.object, ObjectReport(report.object, Outcome.SAME))
        if joined != known:
            self._checkpoint.save(**{f"{_FACT}{joined.object}": joined.as_dict()})
            self._kept[joined.object] = joined
        return joined


def counted(reports: Iterable[ObjectReport]) -> dict[str, Any]:
    """For results: how many of each outcome, and `reports` of all that are not the same as ever, of which `unlisted` are
    too many to be listed."""
    found = list(reports)
    counts = Counter(one.outcome for one in found)
    told = [one.as_dict() for outcome in _ORDER for one in found if one.outcome is outcome]
    return {
        **{str(outcome): counts[outcome] for outcome in Outcome},
        "reports": told[:_LISTED],
        "unlisted": len(told[_LISTED:]),
    }


def _joined(before: ObjectReport | None, now: ObjectReport) -> ObjectReport:
    if before is None or Outcome.REFUSED in {before.outcome, now.outcome}:
        return now
    if now.outcome is Outcome.SAME:
        return before
    return replace(now, outcome=Outcome.CREATED) if before.outcome is Outcome.CREATED else now


def _read(fact: dict[str, str]) -> ObjectReport:
    return ObjectReport(fact["object"], Outcome(fact["outcome"]), fact["reason"])
