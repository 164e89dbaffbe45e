"""Which backups are kept and which go: pure. Every decision carries its reason.

What holds for any history and policy (tests/unit/backup/test_retention.py): a kept backup finds all that it needs in
kept ones; the newest backup and the newest full that are sound are kept; planning again on what is left, at the same
moment, deletes nothing more; a more generous policy keeps no less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from g3zkp_maint.backup.manifest import Outcome
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.restore_plan import SAFETY_PREFIX
from g3zkp_maint.settings import Retention


class Rule(StrEnum):
    """Why a backup is kept."""

    NEWEST = "newest"
    NEWEST_FULL = "newest-full"
    WITHIN = "within"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"
    NEEDED = "needed"
    IN_USE = "in-use"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class KeepReason:
    """`index`: which one of those that the rule keeps, 1 is the newest. `by`: what needs it, where something does."""

    rule: Rule
    index: int = 1
    by: str = ""

    def __str__(self) -> str:
        if self.by:
            return f"{self.rule} by {self.by}"
        return f"{self.rule} #{self.index}" if self.rule in _NUMBERED else str(self.rule)


_NUMBERED = {Rule.WITHIN, Rule.DAILY, Rule.WEEKLY, Rule.MONTHLY, Rule.YEARLY}


@dataclass(frozen=True, slots=True)
class Head:
    """Of a backup, what retention looks at. `outcome` None: its manifest must not be believed, and `refers_to` is then
    what it claims. `refers_to` names the backups that hold its content; `is_whole`: all of that is in the store."""

    name: str
    at: datetime
    type: BackupType
    outcome: Outcome | None
    run: str = ""
    refers_to: frozenset[str] = frozenset()
    is_whole: bool = True

    @property
    def is_sound(self) -> bool:
        """Whether it can stand for its day: whole, without gaps, and not taken of what a restore was about to replace."""
        return self.outcome is Outcome.OK and self.is_whole and not self.run.startswith(SAFETY_PREFIX)


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one backup. Without a reason to keep it, it goes."""

    name: str
    reasons: tuple[KeepReason, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.reasons)) if self.reasons else "past its days, and no rule keeps it"


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """Both newest first."""

    kept: tuple[Verdict, ...]
    deleted: tuple[Verdict, ...]


def plan_retention(
    heads: Iterable[Head], policy: Retention, now: datetime, *, in_use: Mapping[str, Iterable[str]] | None = None
) -> RetentionPlan:
    """What becomes of each backup. `in_use`: the runs under way, with the backups that each builds on."""
    history = sorted(heads, key=lambda head: (head.at, head.name), reverse=True)
    reasons = _Reasons(history)
    believed = [head for head in history if head.outcome is not None]
    _keep_newest(reasons, believed)
    _keep_by_age(reasons, believed, policy, now)
    for head in history:
        if head.outcome is None:
            reasons.add(head.name, KeepReason(Rule.INVALID))
    for run, names in (in_use or {}).items():
        for name in names:
            reasons.add(name, KeepReason(Rule.IN_USE, by=run))
    reasons.close()
    verdicts = [Verdict(head.name, tuple(reasons.of[head.name])) for head in history]
    return RetentionPlan(
        kept=tuple(verdict for verdict in verdicts if verdict.reasons),
        deleted=tuple(verdict for verdict in verdicts if not verdict.reasons),
    )


def _keep_newest(reasons: _Reasons, believed: list[Head]) -> None:
    """Where none is sound, the best there is: that of the fewest faults, then the newest."""
    best_first = sorted(believed, key=lambda head: (not head.is_sound, not head.is_whole))  # stable: newest first
    fulls = [head for head in best_first if head.type is BackupType.FULL]
    for rule, found in ((Rule.NEWEST, best_first), (Rule.NEWEST_FULL, fulls)):
        if found:
            reasons.add(found[0].name, KeepReason(rule))


def _keep_by_age(reasons: _Reasons, believed: list[Head], policy: Retention, now: datetime) -> None:
    since = now - timedelta(days=policy.keep_within_days)
    for index, head in enumerate((head for head in believed if head.at >= since), 1):
        reasons.add(head.name, KeepReason(Rule.WITHIN, index))
    sound = [head for head in believed if head.is_sound]
    for rule, period, count in _periods(policy):
        for index, head in enumerate(_newest_of_each(sound, period)[:count], 1):
            reasons.add(head.name, KeepReason(rule, index))


_Period = Callable[[datetime], tuple[int, ...]]


def _periods(policy: Retention) -> tuple[tuple[Rule, _Period, int], ...]:
    return (
        (Rule.DAILY, lambda at: (at.year, at.month, at.day), policy.keep_daily),
        (Rule.WEEKLY, lambda at: at.isocalendar()[:2], policy.keep_weekly),
        (Rule.MONTHLY, lambda at: (at.year, at.month), policy.keep_monthly),
        (Rule.YEARLY, lambda at: (at.year,), policy.keep_yearly),
    )


def _newest_of_each(newest_first: list[Head], period: _Period) -> list[Head]:
    found: dict[tuple[int, ...], Head] = {}
    for head in newest_first:
        found.setdefault(period(head.at), head)
    return list(found.values())


class _Reasons:
    """The reasons so far, by backup. Of one that is not there, nothing is said."""

    def __init__(self, history: list[Head]) -> None:
        self._history = {head.name: head for head in history}
        self.of: dict[str, list[KeepReason]] = {name: [] for name in self._history}

    def add(self, name: str, reason: KeepReason) -> None:
        if name in self.of:
            self.of[name].append(reason)

    def close(self) -> None:
        """Adds what the kept ones need, and what those need. One reason of that kind is enough for each."""
        waiting = [name for name in self._history if self.of[name]]
        needed: set[str] = set()
        while waiting:
            name = waiting.pop(0)
            for other in sorted(self._history[name].refers_to - {name} - needed):
                if other in self.of:
                    needed.add(other)
                    waiting.append(other)
                    self.add(other, KeepReason(Rule.NEEDED, by=name))
