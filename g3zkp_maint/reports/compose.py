"""From what was gathered to what the report says. Pure; the same sources make the same document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from g3zkp_maint.backup.evidence import Kept
from g3zkp_maint.calendar.cadence import Rank
from g3zkp_maint.calendar.firing import superseded_by
from g3zkp_maint.calendar.slot import parse_slot
from g3zkp_maint.coordination.journal import JournalEvent
from g3zkp_maint.errors import BadInput
from g3zkp_maint.history import RunLine, run_lines
from g3zkp_maint.reports.attention import attention
from g3zkp_maint.reports.facts import Besides, Drill, Failure, Storage, WeekFacts
from g3zkp_maint.reports.health_week import health_week
from g3zkp_maint.reports.meaning import meaning
from g3zkp_maint.reports.slots import entry_weeks, judged_slots, mark_of, missed
from g3zkp_maint.reports.sources import Sources
from g3zkp_maint.reports.trend import WEEKS, backups_made, moment, outcomes, trend

_SHOWN_FAILURES = 40
_SHOWN_DRILLS = 30
_MESSAGE_LENGTH = 400
#: What the bytes of a task's steps are; its other bytes are no traffic with the store.
_STORED = frozenset({"backup.run", "backup.copy", "backup.import"})
_FREED = frozenset({"backup.prune"})
_READ = frozenset({"backup.verify", "backup.reread", "backup.reread_second", "crypto.drill", "crypto.restore"})


def compose(sources: Sources) -> WeekFacts:
    """The report of `sources.week`, as of `sources.now`."""
    week = sources.week
    # Beat's words share task and slot with runs, and are none.
    lines = run_lines(record for record in sources.records if record.event.owner != "beat")
    own = [line for line in lines if line.started in week]
    # What runs every few minutes would hide all else: it is counted by its slots alone.
    often = {entry.task for entry in sources.calendar if entry.cadence.rank == Rank.FREQUENT}
    rarer = [line for line in lines if line.task not in often]
    slots = judged_slots(sources, {(line.task, line.slot): line for line in lines})
    health = health_week(sources)
    begun_in_week = sources.begins is None or sources.begins > week.start
    count = None if begun_in_week else sum(slot.mark == "missed" for slot in slots)
    facts = WeekFacts(
        week=str(week),
        start=week.start,
        end=week.end,
        made_at=sources.now,
        is_over=sources.now >= week.end,
        product=sources.product,
        namespace=sources.namespace,
        journal_since=sources.begins,
        runs=outcomes(line for line in rarer if line.started in week),
        entries=entry_weeks(sources, slots),
        missed=missed(slots),
        failures=failures(own),
        besides=besides(sources, own),
        trend=trend(sources, rarer, missed=count, health=health),
        storage=_storage(sources),
        drills=None if sources.evidence is None else _drills(sources),
        keys=None if sources.keys is None else tuple(sources.keys),
        health=health,
        windows=tuple(sources.windows),
        findings=sources.findings,
        speed=sources.speed,
        certificates=sources.certificates,
        unknown=sources.unknown,
    )
    return facts.model_copy(update={"attention": attention(facts)})


def failures(lines: Iterable[RunLine]) -> tuple[Failure, ...]:
    """Runs that ended otherwise than whole, by task and code, the most frequent first."""
    groups: dict[tuple[str, str], list[RunLine]] = {}
    for line in lines:
        if line.is_failed:
            groups.setdefault((line.task, line.outcome), []).append(line)
    found = [_failure(own) for own in groups.values()]
    return tuple(sorted(found, key=lambda one: (-one.count, one.task, one.code)))[:_SHOWN_FAILURES]


def _failure(lines: Sequence[RunLine]) -> Failure:
    last = lines[-1]
    return Failure(
        task=last.task,
        code=last.outcome or "unexpected",
        count=len(lines),
        last_at=last.started + timedelta(seconds=last.seconds),
        slot=last.slot,
        run=last.run,
        attempts=max(1, last.attempts),
        meaning=meaning(last.outcome),
    )


def besides(sources: Sources, lines: Iterable[RunLine]) -> tuple[Besides, ...]:
    """Runs for no slot of the calendar, by task."""
    groups: dict[str, list[RunLine]] = {}
    for line in lines:
        if not _is_on_calendar(sources, line):
            groups.setdefault(line.task, []).append(line)
    return tuple(
        Besides(
            task=task,
            count=len(own),
            failed=sum(mark_of(line) in {"failed", "partial"} for line in own),
            last_at=own[-1].started,
            seconds=sum(line.seconds for line in own),
            bytes=sum(line.bytes for line in own),
        )
        for task, own in sorted(groups.items())
    )


def _is_on_calendar(sources: Sources, line: RunLine) -> bool:
    try:
        at = parse_slot(line.slot)
    except BadInput:  # a caller's key
        return False
    # A run that gave way has a task of its own: `backup.run-incremental`.
    task = line.task.partition("-")[0]
    entries = [one for one in sources.calendar if one.task == task and one.fires_at(at)]
    return any(superseded_by(sources.calendar, one, at) is None for one in entries)


def _storage(sources: Sources) -> Storage | None:
    if sources.objects is None:
        return None
    seen = sources.store
    events = [record.event for record in sources.records if record.event.at and record.event.at in sources.week]
    return Storage(
        bytes=sum(one.size for one in sources.objects),
        objects=len(sources.objects),
        backups=0 if seen is None else seen.backups,
        is_judged=seen is not None,
        newest_at=None if seen is None else moment(seen.newest_at),
        newest_full_at=None if seen is None else moment(seen.newest_full_at),
        is_partial=seen is not None and seen.is_partial,
        invalid=0 if seen is None else seen.invalid,
        made=backups_made(sources.objects, sources.week),
        stored_bytes=_moved(events, _STORED),
        freed_bytes=_moved(events, _FREED),
        read_bytes=_moved(events, _READ),
    )


def _moved(events: Iterable[JournalEvent], tasks: frozenset[str]) -> int:
    """Bytes of steps; of verification the quick one only looks at sizes."""
    steps = (one for one in events if one.step and not one.step.startswith("verify-quick") and one.task in tasks)
    return sum(one.bytes or 0 for one in steps if one.event == "finished")


def _drills(sources: Sources) -> tuple[Drill, ...]:
    """Newest first, of the weeks that the trend shows."""
    since = sources.week.back(WEEKS - 1).start
    found = [_drill(kept) for kept in sources.evidence or ()]
    return tuple(one for one in found if one.at is None or since <= one.at)[:_SHOWN_DRILLS]


def _drill(kept: Kept) -> Drill:
    seen = kept.evidence
    if seen is None:
        return Drill(
            at=None,
            backup=kept.key,
            outcome="unknown",
            recovery_seconds=0,
            recovery_point_seconds=0,
            is_believed=False,
            problem=kept.why[:_MESSAGE_LENGTH],
        )
    return Drill(
        at=seen.drilled_at,
        backup=seen.backup,
        outcome=seen.outcome,
        recovery_seconds=seen.recovery_ms / 1000,
        recovery_point_seconds=seen.recovery_point_seconds,
        failed=tuple(str(check) for check in seen.failed),
    )
