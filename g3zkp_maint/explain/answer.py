"""What became of a slot. Pure; the same records, calendar and time give the same answer.

First what ran for the slot decides; where nothing did, what beat decided about it; where it said nothing either, the
calendar. What can be known from none of them is called `unknown`, and never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import Calendar, superseded_by
from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord
from g3zkp_maint.errors import BadInput
from g3zkp_maint.explain import question as questions
from g3zkp_maint.explain import told
from g3zkp_maint.explain.question import Question
from g3zkp_maint.explain.told import Line, Ran
from g3zkp_maint.quantity import human_seconds
from g3zkp_maint.run_tree import Branch, run_tree


class Verdict(StrEnum):
    """What became of it, in a word that scripts may rely on."""

    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    OUTSIDE_WINDOW = "outside-window"
    HELD_BACK = "held-back"
    WAITING_FOR_LEASE = "waiting-for-lease"
    WAITING = "waiting"
    RUNNING = "running"
    GIVEN_OUT_AGAIN = "given-out-again"
    QUEUED = "queued"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    MISSED = "missed"
    DUE_LATER = "due-later"
    NOT_DUE = "not-due"
    UNRECORDED = "unrecorded"
    UNKNOWN = "unknown"


#: The ends of a run by the word of its last start.
_ENDS = {
    "": Verdict.RUNNING,
    "finished": Verdict.DONE,
    "failed": Verdict.FAILED,
    "waiting": Verdict.WAITING,
    "superseded": Verdict.SUPERSEDED,
    "died": Verdict.GIVEN_OUT_AGAIN,
    "requeued": Verdict.GIVEN_OUT_AGAIN,
    "reset": Verdict.GIVEN_OUT_AGAIN,
}
#: Outcomes of a waiting or failed run that are verdicts of their own.
_OUTCOMES = {
    ("waiting", "lease-busy"): Verdict.WAITING_FOR_LEASE,
    ("waiting", "held-back"): Verdict.HELD_BACK,
    ("failed", "held-back"): Verdict.HELD_BACK,
    ("failed", "outside-window"): Verdict.OUTSIDE_WINDOW,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """`why` is the sentence, `todo` what an operator can do ('' nothing); `story` what happened, in order. `last_due` and
    `next_due` are the slots around the one that was asked for, '' for a task that is not on the calendar."""

    verdict: Verdict
    task: str
    slot: str
    why: str
    todo: str = ""
    entry: str = ""
    run: str = ""
    seconds: float | None = None
    attempts: int = 0
    last_due: str = ""
    next_due: str = ""
    story: tuple[Line, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__slots__ if name != "story"}
        return {
            **found,
            "verdict": str(self.verdict),
            "story": [{"at": line.at.isoformat(), "text": line.text} for line in self.story],
        }


def explain(
    task: str,
    slot: str,
    records: Iterable[JournalRecord],
    calendar: Calendar,
    now: datetime,
    *,
    begins: datetime | None = None,
) -> Answer:
    """Why the run of `task` (or of the calendar entry of that name) for `slot` did or did not happen.

    `records` are oldest first and may hold others as well; `begins` is the time of the journal's oldest record, None
    where it is that of the first of `records`. Raises BadInput for a task or a slot that there is none of, with those
    that are near.
    """
    asked = questions.question(task, slot, calendar, now)
    every = list(records)
    first = begins or (every[0].event.at if every else None)
    events = [record.event for record in every if _concerns(asked, record.event)]
    return _Case(asked, events, calendar, now, first).answer()


def _concerns(asked: Question, event: JournalEvent) -> bool:
    return asked.concerns({"task": event.task, "slot": event.slot, "event": event.event})


@dataclass(frozen=True)
class _Case:
    """What is known of the question."""

    asked: Question
    events: list[JournalEvent]
    calendar: Calendar
    now: datetime
    begins: datetime | None

    # -- who is meant --------------------------------------------------------------------------------------------------

    @property
    def due(self) -> list[CalendarEntry]:
        """The entries that may be meant and have this slot."""
        moment = self.asked.moment
        return [] if moment is None else [one for one in self.asked.entries if one.fires_at(moment)]

    def rival(self) -> CalendarEntry | None:
        """Who has the slot in place of all entries that may be meant."""
        moment = self.asked.moment
        if moment is None or not self.due:
            return None
        taken = [superseded_by(self.calendar, one, moment) for one in self.due]
        return None if None in taken else taken[0]

    def entry(self) -> CalendarEntry | None:
        """The one that runs in the slot; one that gives way where all do."""
        moment = self.asked.moment
        if moment is None or not self.due:
            return None
        own = [one for one in self.due if superseded_by(self.calendar, one, moment) is None]
        return (own or self.due)[0]

    def own_events(self) -> list[JournalEvent]:
        """Of the newest run for this slot."""
        mine = [
            one for one in self.events if one.task == self.asked.task and one.owner != "beat" and self._is_slot(one)
        ]
        return [one for one in mine if one.run == mine[-1].run]

    def _is_slot(self, event: JournalEvent) -> bool:
        return event.slot in self.asked.slots

    # -- the answer ----------------------------------------------------------------------------------------------------

    def answer(self) -> Answer:
        rival, own = self.rival(), self.own_events()
        if rival is not None:
            return self._superseded(rival, own)
        if own:
            return self._ran(own)
        if self.asked.moment is None or not self.asked.entries:
            raise self._unknown()
        entry = self.entry()
        if entry is None:
            return self._not_due()
        return self._did_not_run(entry, self.asked.moment)

    def _unknown(self) -> BadInput:
        if self.asked.entries:
            return questions.unknown_slot(self.asked, self.now)
        return questions.unknown_task(self.asked, self.calendar)

    def _superseded(self, rival: CalendarEntry, own: list[JournalEvent]) -> Answer:
        """The slot is another's; `own` is what ran in it, under the same task."""
        is_over = self.asked.moment is not None and self.asked.moment <= self.now
        gives = "gave" if is_over else "will give"
        names = " and ".join(one.name for one in self.due)
        why = f"{names} {gives} way to {rival.name} ({rival.cadence}), which has this slot too and ranks higher"
        became = self._ran(own) if own else None
        if became is not None:
            why = f"{why}; that one: {became.verdict}"
        todo = f"what became of that one: `g3zkp-maint why {rival.name} {self.asked.slot}`" if is_over else ""
        return self._made(Verdict.SUPERSEDED, why, todo, story=became.story if became else self._of_beat())

    def _not_due(self) -> Answer:
        cadences = ", ".join(f"{one.name} {one.cadence}" for one in self.asked.entries)
        why = f"{self.asked.task} has no slot at {told.time(self.asked.moment)}: it is due {cadences}"
        return self._made(Verdict.NOT_DUE, why)

    def _did_not_run(self, entry: CalendarEntry, moment: datetime) -> Answer:
        if moment > self.now:
            length = human_seconds((moment - self.now).total_seconds())
            return self._made(Verdict.DUE_LATER, f"{entry.name} is due then, in {length}")
        if not entry.recorded:
            why = f"{entry.name} keeps no records: it runs too often. Its worker's log and `probe` tell of it"
            return self._made(Verdict.UNRECORDED, why)
        sent = [one for one in self.events if one.event == "published" and self._is_slot(one)]
        if sent:
            return self._sent(entry, moment, sent[-1])
        missed = next((one for one in self.events if told.is_dropped(one, entry, moment)), None)
        if missed is not None:
            return self._missed(entry, missed)
        return self._silent(moment)

    def _sent(self, entry: CalendarEntry, moment: datetime, sent: JournalEvent) -> Answer:
        """Its message went out, and no worker began it."""
        at = told.time(sent.at)
        limit = entry.starting_deadline_seconds
        if entry.missed == "skip" and limit is not None and self.now - moment > timedelta(seconds=limit):
            why = (
                f"its message was sent at {at} and no worker of {entry.queue} took it within {limit} s, after which it is "
                "of no use to anybody: it was skipped"
            )
            todo = f"see whether the {entry.queue} fleet runs: `g3zkp-maint probe worker --queue {entry.queue}`"
            return self._made(Verdict.EXPIRED, why, todo)
        why = f"its message was sent at {at} and waits in the queue {entry.queue}: no worker has begun it"
        todo = f"see whether the {entry.queue} fleet runs, and what it is at: `g3zkp-maint leases`, `g3zkp-maint runs`"
        return self._made(Verdict.QUEUED, why, todo)

    def _missed(self, entry: CalendarEntry, missed: JournalEvent) -> Answer:
        when = told.time(missed.at)
        policy = told.POLICIES.get(entry.missed, "")
        run = missed.detail.get("last_run")
        instead = f"; {run} ran in its place" if run else ""
        dropped = missed.detail.get("dropped", 1)
        why = (
            f"beat was not there at that time. Back at {when} it gave up {dropped} slot{'' if dropped == 1 else 's'} of "
            f"{entry.name} by its policy `{entry.missed}` ({policy}){instead}"
        )
        return self._made(Verdict.MISSED, why, "see why beat was away: `g3zkp-maint probe beat`, and its log")

    def _silent(self, moment: datetime) -> Answer:
        if self.begins is None or moment < self.begins:
            reach = "is empty" if self.begins is None else f"reaches back to {told.time(self.begins)} only"
            return self._made(Verdict.UNKNOWN, f"nobody can tell any more: the journal {reach}")
        why = "beat has neither sent it nor given it up: no beat has led since then, or it was not on the calendar then"
        return self._made(Verdict.UNKNOWN, why, "see whether a beat leads: `g3zkp-maint probe beat`")

    # -- what ran ------------------------------------------------------------------------------------------------------

    def _ran(self, events: list[JournalEvent]) -> Answer:
        starts = run_tree(events)
        if not starts:
            return self._silent(self.asked.moment or self.now)
        last = starts[-1]
        verdict = _verdict(last)
        ran = Ran(events[0].task, events[0].slot, events[0].run, starts, self.now)
        why, todo = told.end(ran)
        ended = last.ended if last.how in {"finished", "failed"} else None
        seconds = (ended - starts[0].began).total_seconds() if ended else None
        attempts = max(1, *(event.attempt for event in events))
        story = tuple(sorted((*self._of_beat(), *told.story(starts)), key=lambda line: line.at))
        return self._made(verdict, why, todo, run=events[0].run, seconds=seconds, attempts=attempts, story=story)

    def _of_beat(self) -> tuple[Line, ...]:
        found = (told.of_beat(one) for one in self.events if one.owner == "beat" and self._is_slot(one))
        return tuple(line for line in found if line is not None)

    def _made(self, verdict: Verdict, why: str, todo: str = "", **more: Any) -> Answer:
        before, after = questions.nearest(self.asked.entries, self.asked.moment or self.now)
        entry = self.entry()
        return Answer(
            verdict=verdict,
            task=self.asked.task,
            slot=self.asked.slot,
            why=why,
            todo=todo,
            entry=entry.name if entry else "",
            last_due=before,
            next_due=after,
            **{"story": self._of_beat(), **more},
        )


def _verdict(last: Branch) -> Verdict:
    if last.how == "finished" and last.outcome not in {"", "ok"}:
        return Verdict.PARTIAL
    return _OUTCOMES.get((last.how, last.outcome), _ENDS[last.how])
