"""From what is known to samples. Pure: no I/O, no clock, nothing of Prometheus' own library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from g3zkp_maint import __version__
from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import Calendar, next_slot
from g3zkp_maint.coordination.glance import Glance
from g3zkp_maint.coordination.lease import RESOURCES, Mode
from g3zkp_maint.metrics.catalog import PREFIX
from g3zkp_maint.metrics.facts import DrillFacts, Facts, SourceState, StoreFacts
from g3zkp_maint.metrics.served import longest_interval
from g3zkp_maint.metrics.tally import STATES, EntryTally, MessengerTally, Tally
from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.plan import Occurrence

#: What each backup starts: it comes again by itself, like what is on the calendar.
FOLLOWS_BACKUP = frozenset({"backup.prune", "backup.prune_second", "backup.copy", "crypto.drill"})
#: How long the end of a task that nothing starts again by itself is told: it could stay the last one for ever.
TOLD_SECONDS = 86_400

#: More of them than these, those that end last, are left out: a namespace may hold any number.
MOST_CERTIFICATES = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """`name` is that of a series in the catalog, `labels` are in its order."""

    name: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True)
class Known:
    """What a scrape has found: None for what could not be read. `key_intervals` are in seconds, by key type."""

    tally: Tally | None
    glance: Glance | None
    facts: Facts
    sources: Mapping[str, SourceState]
    calendar: Calendar
    key_intervals: Mapping[str, float]
    now: datetime


def samples(known: Known) -> Iterator[Sample]:
    """Every sample of a scrape, each series once."""
    yield _own("build_info", 1, __version__)
    yield from _sources(known.sources)
    yield from _calendar(known)
    if known.tally is not None:
        yield from _journal(known.tally)
        yield from _messenger(known.tally.messenger)
        yield from _last_runs(known.tally, {entry.task for entry in known.calendar} | FOLLOWS_BACKUP, known.now)
    if known.glance is not None:
        yield from _glance(known.glance)
    if known.facts.store is not None:
        yield from _store(known.facts.store)
        yield from _drill(known.facts.store.drill, begun_at=known.tally.begun_at if known.tally else 0.0)
    yield from _keys(known)
    if known.facts.certificates_end is not None:
        yield from _certificates(known.facts.certificates_end)
    if known.facts.windows is not None:
        yield from _windows(known.facts.windows, known.now)
    if known.facts.disk_usage_percent is not None:
        yield Sample("g3zkp_disk_usage_percent", (), known.facts.disk_usage_percent)


def _keys(known: Known) -> Iterator[Sample]:
    """The Secret's own word where it can be read, else what the journal has seen."""
    seen = known.facts.rotated_at
    if seen is None and known.tally is not None:
        seen = known.tally.rotated
    for kind, seconds in known.key_intervals.items():
        yield _own("key_interval_seconds", seconds, kind)
        if seen is not None:
            yield _own("key_rotated_timestamp_seconds", seen.get(kind, 0.0), kind)


def _sources(sources: Mapping[str, SourceState]) -> Iterator[Sample]:
    for name, state in sources.items():
        yield _own("source_up", state.is_up, name)
        yield _own("source_refreshed_timestamp_seconds", state.read_at, name)
        yield _own("source_read_seconds", state.seconds, name)


def _calendar(known: Known) -> Iterator[Sample]:
    for entry in known.calendar:
        yield _own("entry_interval_seconds", longest_interval(entry, known.now), entry.name)
        yield _own("entry_next_timestamp_seconds", next_slot(entry, known.now).timestamp(), entry.name)
        if known.tally is not None:
            yield from _entry(entry, known.tally)


def _entry(entry: CalendarEntry, journal: Tally) -> Iterator[Sample]:
    tally = journal.entries.get(entry.name, EntryTally())
    yield _own("entry_slots_missed_total", tally.missed, entry.name)
    if not entry.recorded:
        return
    yield _own("entry_last_success_timestamp_seconds", tally.succeeded_at, entry.name)
    if fresh_at := journal.fresh_at(entry.name):
        yield _own("entry_fresh_timestamp_seconds", fresh_at, entry.name)
    if tally.seconds is not None:
        yield _own("entry_last_duration_seconds", tally.seconds, entry.name)


def _journal(tally: Tally) -> Iterator[Sample]:
    if tally.begun_at:
        yield _own("journal_begin_timestamp_seconds", tally.begun_at)
    yield _own("journal_records_total", tally.number)
    if tally.audit_passed is not None:
        yield Sample("g3zkp_security_audit_passed", (), float(tally.audit_passed))
    for name, overdue in sorted(tally.reread_overdue.items()):
        yield _own("reread_overdue_objects", overdue, name)
    for name, task in sorted(tally.tasks.items()):
        for outcome, count in task.outcomes.items():
            yield _own("runs_total", count, name, outcome)
        for code, count in task.codes.items():
            yield _own("run_failures_total", count, name, code)
        for kind, count in task.bytes.items():
            yield _own("bytes_total", count, name, kind)
        yield _own("run_duration_seconds_sum", task.seconds, name)
        yield _own("run_duration_seconds_count", task.timed, name)
        yield _own("task_last_success_timestamp_seconds", task.succeeded_at, name)
        yield _own("leases_lost_total", task.leases_lost, name)


def _messenger(seen: MessengerTally) -> Iterator[Sample]:
    if not seen.state:
        return
    for state in STATES:
        yield _own("messenger_state", state == seen.state, state)
    yield _own("messenger_state_since_timestamp_seconds", seen.since)
    yield _own("messenger_looked_timestamp_seconds", seen.looked_at)
    for path, seconds in seen.seconds.items():
        yield _own("messenger_answer_seconds", seconds, path)


def _last_runs(tally: Tally, recurring: Collection[str], now: datetime) -> Iterator[Sample]:
    for name, task in sorted(tally.tasks.items()):
        is_told = name in recurring or now.timestamp() - task.ended_at <= TOLD_SECONDS
        if task.last_ok is not None and is_told:
            yield _own("task_last_run_ok", task.last_ok, name)


def _glance(glance: Glance) -> Iterator[Sample]:
    yield _own("runs_open", glance.open_runs)
    yield _own("messages_unacknowledged", glance.unacknowledged)
    active = Counter(_run_queue(one.resource) for one in glance.holdings)
    for name, queue in glance.queues.items():
        yield _own("queue_messages", queue.messages, name)
        yield _own("fleet_workers", queue.workers, name)
        yield _own("runs_active", active[name], name)
        yield _own("canary_arrived_timestamp_seconds", _seconds(queue.canary_arrived), name)
        if queue.canary_seconds is not None:
            yield _own("canary_duration_seconds", queue.canary_seconds, name)
    held = Counter((one.resource, one.mode) for one in glance.holdings)
    for resource in RESOURCES:
        for mode in Mode:
            yield _own("lease_holders", held[resource, mode], resource, mode)
        yield _own("lease_waiters", glance.waiters[resource], resource)
    yield _own("beat_tick_timestamp_seconds", _seconds(glance.beat_ticked))
    yield _own("beat_published_timestamp_seconds", _seconds(glance.beat_published))
    yield _own("beat_lock_held", glance.beat_lock_held)


def _store(store: StoreFacts) -> Iterator[Sample]:
    yield _own("store_objects", store.objects)
    yield _own("store_bytes", store.bytes)
    yield _own("backups", store.backups)
    yield _own("backup_newest_timestamp_seconds", store.newest_at)
    yield _own("backup_newest_full_timestamp_seconds", store.newest_full_at)
    yield _own("backup_newest_stored_bytes", store.newest_stored_bytes)
    yield _own("backup_is_partial", store.is_partial)
    yield _own("backup_invalid_manifests", store.invalid)


def _drill(drill: DrillFacts | None, *, begun_at: float) -> Iterator[Sample]:
    yield _own("drill_last_timestamp_seconds", drill.at if drill else 0)
    yield _own("drill_last_passed_timestamp_seconds", drill.passed_at if drill else 0)
    fresh_at = (drill.passed_at if drill else 0.0) or begun_at
    if fresh_at:
        yield _own("drill_fresh_timestamp_seconds", fresh_at)
    if drill is not None:
        yield _own("drill_passed", drill.passed)
        yield _own("drill_recovery_seconds", drill.recovery_seconds)
        yield _own("drill_recovery_point_seconds", drill.recovery_point_seconds)


def _certificates(ends: Mapping[str, float]) -> Iterator[Sample]:
    soonest = sorted(ends.items(), key=lambda one: one[1])[:MOST_CERTIFICATES]
    for name, end in soonest:
        yield _own("certificate_expiry_timestamp_seconds", end, name)


def _windows(plan: Sequence[Occurrence], now: datetime) -> Iterator[Sample]:
    for kind in Kind:
        of_kind = [one for one in plan if one.window.kind is kind and one.takes_place]
        to_come = [one.window.start for one in of_kind if one.window.start > now]
        yield _own("window_open", any(one.is_open(now) for one in of_kind), kind)
        yield _own("window_next_timestamp_seconds", _seconds(min(to_come, default=None)), kind)


def _run_queue(resource: str) -> str:
    """`run:backup.run:2026-…` is the lease by which a run of queue `backup` shows that it is alive."""
    family, _, run = resource.partition(":")
    return run.partition(".")[0] if family == "run" else ""


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _own(name: str, value: float, *labels: str) -> Sample:
    return Sample(PREFIX + name, labels, float(value))
