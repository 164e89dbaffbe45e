"""The sentences of an answer: how a run ended, and what happened on the way. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.slot import parse_slot
from g3zkp_maint.coordination.journal import JournalEvent
from g3zkp_maint.errors import BadInput
from g3zkp_maint.quantity import human_seconds
from g3zkp_maint.run_tree import Branch, is_lease_wait
from g3zkp_maint.windows import words

POLICIES = {
    "once": "only the newest missed slot runs",
    "skip": "a missed slot does not run late",
    "catch_up": "each missed slot runs, up to a limit",
}
#: Codes of runs that used up their attempts.
_EXHAUSTED = "run-exhausted"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Ran:
    """A run, by its name in the journal, and its starts; there is one at least."""

    task: str
    slot: str
    run: str
    starts: Sequence[Branch]
    now: datetime

    @property
    def last(self) -> Branch:
        return self.starts[-1]


def time(at: datetime | None) -> str:
    return "an unknown time" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"


def is_dropped(event: JournalEvent, entry: CalendarEntry, moment: datetime) -> bool:
    """Whether this is beat's word that it gave the slot up."""
    if event.event != "missed" or event.detail.get("entry") != entry.name or not event.detail.get("dropped"):
        return False
    try:
        first, newest = parse_slot(str(event.detail.get("first_dropped"))), parse_slot(event.slot)
    except BadInput:
        return False
    first_run = event.detail.get("first_run")
    # What ran are the newest ones.
    end = parse_slot(str(first_run)) if first_run else None
    return first <= moment <= newest and (end is None or moment < end)


def of_beat(event: JournalEvent) -> Line | None:
    """What beat did about the slot."""
    name = event.detail.get("entry", "")
    texts = {
        "published": f"{name}: sent by beat",
        "superseded": f"{name}: gave way to {event.detail.get('by')}",
        "missed": f"{name}: sent late; {event.detail.get('dropped', 0)} slots before it were given up",
    }
    text = texts.get(event.event)
    return None if text is None or event.at is None else Line(event.at, text)


def story(starts: Sequence[Branch]) -> Iterator[Line]:
    """What happened in the run, without the steps that went well."""
    for start in starts:
        if is_lease_wait(start):
            often = "once" if start.tries == 1 else f"{start.tries} times, the last time at {time(start.ended)}"
            yield Line(start.began, f"found no lease, {often}: {start.error}")
            continue
        if start.how in {"requeued", "reset"}:
            yield Line(start.began, _again(start))
            continue
        yield Line(start.began, f"{start.name} by {start.owner or 'an unknown worker'}")
        for step in start.steps:
            if step.how not in {"", "finished"} and step.ended:
                yield Line(step.ended, f"step {step.name}: {_with_code(step)}")
        if start.ended:
            yield Line(start.ended, _with_code(start))


def end(ran: Ran) -> tuple[str, str]:
    """Why the run is where it is, and what can be done about it."""
    tell = {
        "": _running,
        "finished": _finished,
        "failed": _failed,
        "waiting": _waiting,
        "superseded": _gave_way,
    }.get(ran.last.how, _given_out)
    return tell(ran)


def _finished(ran: Ran) -> tuple[str, str]:
    ended = ran.last.ended or ran.now
    took = human_seconds((ended - ran.starts[0].began).total_seconds())
    why = f"it ran and ended at {time(ended)} with outcome {ran.last.outcome or 'ok'}, {took} after its first start"
    before = [one for one in ran.starts[:-1] if not is_lease_wait(one)]
    waits = sum(one.tries for one in ran.starts if is_lease_wait(one))
    if waits:
        why += f"; it waited for a lease before ({waits} {'try' if waits == 1 else 'tries'})"
    if before:
        why += f"; before that: {'; '.join(_with_code(one) for one in before)}"
    if ran.last.outcome in {"", "ok"}:
        return why, ""
    return why, f"see what is not whole: `g3zkp-maint runs show {ran.run[:12]}`"


def _failed(ran: Ran) -> tuple[str, str]:
    step = next((one for one in reversed(ran.last.steps) if one.how in {"failed", "lease-lost"}), None)
    leave = next((one for one in reversed(ran.last.steps) if one.name == words.STEP), None)
    deaths = sum(one.how == "died" for one in ran.starts)
    where = f" in the step {step.name}" if step is not None else ""
    code = ran.last.outcome or "unexpected"
    why = f"it failed at {time(ran.last.ended)}{where} with {code}: {ran.last.error or 'no text'}"
    if code == _EXHAUSTED and step is not None and step.outcome not in {"", _EXHAUSTED}:
        why += f" (the step: {step.outcome})"
    if deaths:
        why += f"; its worker died {'once' if deaths == 1 else f'{deaths} times'}"
    if leave is not None and leave.detail.get("next_start"):
        why += f"; the next window that is long enough begins at {leave.detail['next_start']}"
    return (
        why,
        f"docs/runbook.md tells of {code}; then have it tried again: `g3zkp-maint runs reset {ran.task} {ran.slot}`",
    )


def _waiting(ran: Ran) -> tuple[str, str]:
    again = _next_try(ran.last, ran.now)
    if is_lease_wait(ran.last) or ran.last.outcome == "lease-busy":
        resource, holder = ran.last.detail.get("resource"), ran.last.detail.get("holder")
        what = f"the lease on {resource}, held by {holder}" if resource else "a lease"
        since = f", since {time(ran.last.began)}" + (f" ({ran.last.tries} tries)" if ran.last.tries > 1 else "")
        return f"it waits for {what}{since}; {again}", "who holds what: `g3zkp-maint leases`"
    return f"its last try ended at {time(ran.last.ended)} with {ran.last.outcome}: {ran.last.error}; {again}", ""


def _running(ran: Ran) -> tuple[str, str]:
    since = human_seconds((ran.now - ran.last.began).total_seconds())
    at = [one for one in ran.last.steps if not one.how]
    steps = ", ".join(f"{one.name} since {time(one.began)}" for one in at) or "between two steps"
    who = ran.last.owner or "an unknown worker"
    why = f"it runs: begun by {who} at {time(ran.last.began)}, {since} ago; at: {steps}"
    return why, "a worker that died shows within a minute or two: its run is then given out again by itself"


def _gave_way(ran: Ran) -> tuple[str, str]:
    return f"it gave way to {ran.last.detail.get('by', 'another run')} at {time(ran.last.ended)}", ""


def _given_out(ran: Ran) -> tuple[str, str]:
    why = f"{_again(ran.last)} at {time(ran.last.ended)}, and no worker has begun it since"
    return why, f"see whether the {ran.task.partition('.')[0]} fleet runs"


def _again(one: Branch) -> str:
    if one.how == "reset":
        return "an operator let it be tried again"
    if one.how == "died":
        return f"it was given out again, as {one.error or 'its worker was gone'}"
    return f"it was given out again, as {one.error or 'its message was lost'}"


def _with_code(one: Branch) -> str:
    if one.how == "died":
        return _again(one)
    code = f" {one.outcome}" if one.outcome and one.outcome != one.how else ""
    return f"{one.how}{code}" + (f": {one.error}" if one.error else "")


def _next_try(last: Branch, now: datetime) -> str:
    text = str(last.detail.get("next_try") or "")
    if not text:
        return "it is tried again"
    at = datetime.fromisoformat(text)
    if at >= now:
        return f"it is tried again at {time(at)}"
    return (
        f"it was to be tried again at {time(at)}; a worker that is free takes it up, or the reaper gives it out again"
    )
