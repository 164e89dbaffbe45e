"""One run as a tree, from its records: its starts, what each came to, and the steps within, with times. Pure.

A start is what one worker did at a stretch: from `started` until the run ended, went back to wait, or its worker was gone.
Starts that found their lease taken and did nothing are one branch, `waits`, however often they tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from g3zkp_maint.coordination.journal import JournalEvent, Scalar
from g3zkp_maint.errors import LeaseBusy

#: Details that say what the columns say.
_SHOWN_ELSEWHERE = frozenset({"seconds", "error"})


@dataclass(frozen=True, slots=True)
class Branch:
    """A step, or (with `steps`) a start. `ended` is None while it goes on, or where nobody tells its end. `how` is the
    word of its end: finished, failed, lease-lost, waiting, superseded, died (and given out again), requeued (its message
    was lost), reset; '' without one."""

    name: str
    began: datetime
    owner: str = ""
    attempt: int = 0
    ended: datetime | None = None
    how: str = ""
    outcome: str = ""
    bytes: int | None = None
    error: str = ""
    detail: dict[str, Scalar] = field(default_factory=dict)
    steps: tuple[Branch, ...] = ()
    tries: int = 1

    @property
    def seconds(self) -> float | None:
        """As the step measured it itself, else by the records' times."""
        told = self.detail.get("seconds")
        if isinstance(told, int | float):
            return float(told)
        return None if self.ended is None else (self.ended - self.began).total_seconds()

    @property
    def remarks(self) -> dict[str, Scalar]:
        return {name: value for name, value in self.detail.items() if name not in _SHOWN_ELSEWHERE}

    def as_dict(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__slots__ if name != "steps"}
        return {**found, "seconds": self.seconds, "steps": [one.as_dict() for one in self.steps]}


def run_tree(events: Iterable[JournalEvent]) -> tuple[Branch, ...]:
    """The starts of the one run that `events` (oldest first) tell of."""
    builder = _Builder()
    for event in events:
        builder.add(event)
    return _waits_folded(builder.starts())


class _Builder:
    """Takes one record after the other."""

    def __init__(self) -> None:
        self._starts: list[tuple[Branch, list[Branch]]] = []

    def add(self, event: JournalEvent) -> None:
        if event.at is None:
            return
        if event.step:
            self._step(event, event.at)
        elif event.event == "started":
            self._begin(event, event.at)
        elif event.event == "requeued" and self._is_open():
            self._close(event, event.at, "died")
        elif event.event in {"requeued", "reset"}:
            self._starts.append((Branch("given out again", event.at, event.owner, ended=event.at, how=event.event), []))
        elif event.event in {"finished", "failed", "waiting", "superseded"}:
            self._close(event, event.at, event.event)

    def starts(self) -> list[Branch]:
        return [replace(start, steps=tuple(steps)) for start, steps in self._starts]

    def _begin(self, event: JournalEvent, at: datetime) -> None:
        number = 1 + sum(start.how not in {"requeued", "reset"} for start, _ in self._starts)
        self._starts.append((Branch(f"start {number}", at, event.owner, event.attempt), []))

    def _close(self, event: JournalEvent, at: datetime, how: str) -> None:
        """A word that nobody began to say (a run given up from outside) is a branch of its own."""
        if not self._is_open():
            self._begin(event, at)
        start, steps = self._starts[-1]
        ended = replace(
            start,
            ended=at,
            how=how,
            outcome=event.outcome,
            bytes=event.bytes,
            error=str(event.detail.get("error") or ""),
            detail=dict(event.detail),
        )
        self._starts[-1] = (ended, steps)

    def _step(self, event: JournalEvent, at: datetime) -> None:
        if not self._is_open():
            # The step of a canvas that goes on after a wait: its run was not begun anew.
            self._begin(event, at)
        steps = self._starts[-1][1]
        if event.event == "started":
            steps.append(Branch(event.step, at, event.owner, event.attempt))
            return
        position = _last_open(steps, event)
        begun = Branch(event.step, at, event.owner, event.attempt) if position is None else steps[position]
        ended = replace(
            begun,
            ended=at,
            how=event.event,
            outcome=event.outcome,
            bytes=event.bytes,
            error=str(event.detail.get("error") or ""),
            detail=dict(event.detail),
        )
        if position is None:
            steps.append(ended)
        else:
            steps[position] = ended

    def _is_open(self) -> bool:
        return bool(self._starts) and self._starts[-1][0].ended is None


def _last_open(steps: Sequence[Branch], event: JournalEvent) -> int | None:
    """The step that `event` ends: the newest of that name which is open, by the same worker where several are."""
    open_ones = [at for at, one in enumerate(steps) if one.name == event.step and one.ended is None]
    own = [at for at in open_ones if (steps[at].owner, steps[at].attempt) == (event.owner, event.attempt)]
    return next(reversed(own or open_ones), None)


def _waits_folded(starts: Iterable[Branch]) -> tuple[Branch, ...]:
    found: list[Branch] = []
    for start in starts:
        if not is_lease_wait(start):
            found.append(start)
        elif found and is_lease_wait(found[-1]):
            former = found[-1]
            found[-1] = replace(start, name="waits", began=former.began, tries=former.tries + 1)
        else:
            found.append(replace(start, name="waits"))
    return tuple(found)


def is_lease_wait(start: Branch) -> bool:
    """Whether it only found its lease taken."""
    return start.how == "waiting" and start.outcome == LeaseBusy.code and not start.steps
