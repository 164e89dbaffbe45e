"""Beat: publishes a message for each slot of the calendar that is due, once, whoever leads.

Run by `celery -A workers.app beat`; as many as you like, one leads. RedBeat gives the lock between them and the stored
entries that Flower and RedBeat's tools show. It does *not* decide what is due: its entries know when they ran last but
not for which slot, count from the moment they were sent, and after an absence run once or, without their metadata, at
once. Here, what is due follows from the calendar, the slot each entry was dispatched for last, and the clock, by the
pure functions of `g3zkp_maint.calendar`. Entries that others store in RedBeat are therefore shown, and never run.

Guarantees
- Each message says which slot it is for (`slot="2026-11-25T02:00Z"`). No slot is lost: it is published before it is
  recorded as dispatched. A crash between the two publishes it again; run records make that harmless.
- A leader publishes only while it can still extend its lock, asked before each message. One that lost it raises
  LeaseLost; Celery lets that pass and exits with a traceback and status 1. Its supervisor starts it again as a standby.
- With Redis away it tries again each loop, for as long as the lock lasts; then it exits in the same way.

Hazard: between the extension of the lock and the publish that follows it a process can be stopped for any time; then a
message for an old slot appears late. It carries a slot that the next leader dispatched too, so it runs nothing twice.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery.beat import Scheduler
from celery.result import denied_join_result
from celery.schedules import crontab, schedule
from kombu.exceptions import OperationalError
from redbeat.schedulers import REDBEAT_REDIS_KEY, RedBeatScheduler, ensure_conf

from g3zkp_maint.calendar.cadence import Cadence, Daily, EveryMinutes, EverySeconds, Monthly, Weekly
from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import (
    DuePlan,
    Firing,
    missed_slots,
    next_slot,
    slot_before,
    starting_deadline,
)
from g3zkp_maint.clock import Clock, SystemClock
from g3zkp_maint.coordination.connection import connect
from g3zkp_maint.coordination.dispatch import REDBEAT_PREFIX, DispatchLedger
from g3zkp_maint.coordination.journal import Journal, JournalEvent
from g3zkp_maint.coordination.presence import BEAT, Presence
from g3zkp_maint.errors import CoordinationUnavailable, SettingsError, TemporaryError
from g3zkp_maint.settings import Settings

Facts = Mapping[str, str | int]

#: What the dispatcher decided about an entry: event (published, missed, superseded, clock-was-ahead), entry, slot, facts.
Announce = Callable[[str, CalendarEntry, str, Facts], None]

#: A slot recorded further ahead of the clock than this was recorded by a leader whose clock was wrong.
CLOCK_TOLERANCE = timedelta(minutes=5)

#: Far shorter than the lock: a publish that is tried for longer could succeed when another leads. The loop tries again.
PUBLISH_RETRIES = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}

_log = structlog.get_logger(__name__)


def journaled(journal: Journal) -> Announce:
    """An Announce that writes to the journal. The run is the entry's, not the task's: what is superseded shares task
    and slot with the run that takes its place, and must not be taken for a part of it."""

    def announce(event: str, entry: CalendarEntry, slot: str, facts: Facts) -> None:
        run = f"{entry.name}:{slot}"
        journal.write(JournalEvent(event, run, entry.task, slot, owner="beat", detail={"entry": entry.name, **facts}))

    return announce


def beat_conf(settings: Settings, *, announce: Announce | None = None) -> dict[str, Any]:
    """What `app.conf` must hold for MaintenanceScheduler. Without `announce` its decisions are logged only."""
    return {
        "beat_scheduler": "workers.beat.MaintenanceScheduler",
        "beat_max_loop_interval": settings.beat.loop_seconds,
        "beat_cron_starting_deadline": settings.beat.starting_deadline_seconds,
        "redbeat_key_prefix": REDBEAT_PREFIX,
        "redbeat_lock_timeout": settings.beat.lock_seconds,
        "g3zkp_calendar": settings.beat.calendar,
        "g3zkp_beat_announce": announce,
    }


def celery_schedule(cadence: Cadence) -> schedule:
    """The cadence as Celery and RedBeat's tools show it."""
    match cadence:
        case Daily(at):
            return crontab(minute=at.minute, hour=at.hour)
        case Weekly(weekday, at):
            # Celery's week begins with Sunday, 0.
            return crontab(minute=at.minute, hour=at.hour, day_of_week=(weekday + 1) % 7)
        case Monthly(day, at):
            return crontab(minute=at.minute, hour=at.hour, day_of_month=day)
        case EveryMinutes(minutes):
            return crontab(minute=f"*/{minutes}")
        case EverySeconds(seconds):
            return schedule(timedelta(seconds=seconds))


class MaintenanceScheduler(RedBeatScheduler):  # type: ignore[misc]  # RedBeat publishes no types
    """See the module. Made by Celery, from `app.conf` (see `beat_conf`)."""

    lock: Any = None
    lock_key: str | None = None

    def __init__(self, app: Any, *args: Any, clock: Clock | None = None, **kwargs: Any) -> None:
        self.clock = clock or SystemClock()
        self.leader = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.catalog = load_catalog(app.conf.g3zkp_calendar)
        # Set here, in beat alone: each worker shows its configuration to Flower, and Celery masks no password in this one.
        app.conf.setdefault("redbeat_redis_url", app.conf.broker_url)
        self.client = connect(ensure_conf(app).redis_url)
        # RedBeat's own calls get our time limits too.
        setattr(app, REDBEAT_REDIS_KEY, self.client)
        self.ledger = DispatchLedger(self.client)
        self.presence = Presence(self.client)
        super().__init__(app, *args, **kwargs)
        # RedBeat's start-up hook would wait for the lock inside a signal handler, deaf to a Redis that goes away, and
        # its errors would be swallowed. With no lock_key it leaves that to `tick`.
        self._lock_name, self.lock_key = str(self.lock_key), None
        self._is_stored = False
        self._away_since: float | None = None

    def setup_schedule(self) -> None:
        """Nothing at the start: only a leader may change the stored entries (`_store`)."""

    def tick(self, *_args: Any, **_kwargs: Any) -> float:
        """Publishes what is due. Returns the seconds to sleep. Raises LeaseLost, and CoordinationUnavailable when
        Redis was away for as long as the lock lasts."""
        try:
            seconds = self._tick()
            # Leading or standing by, this look is done: all that was due is published, by whoever leads.
            self.presence.report(self.leader, (BEAT,))
        except TemporaryError as error:
            self._bear(error)
            return float(self.max_interval)
        self._away_since = None
        return seconds

    def close(self) -> None:
        """Gives the lock back, if it is ours. Never hides the error that ends beat: with Redis away the lock runs out."""
        lock, self.lock = self.lock, None
        try:
            if lock is not None:
                self._release(lock)
        finally:
            # Past RedBeat's own, which would fail in place of the first error.
            Scheduler.close(self)

    # -- leading -------------------------------------------------------------------------------------------------------

    def _tick(self) -> float:
        if not self._leads():
            return float(self.max_interval)
        now = self.clock.now()
        for plan in self._due(now):
            self._carry_out(plan)
        self._extend()
        self.ledger.record_tick(leader=self.leader, at=now)
        return self._pause()

    def _leads(self) -> bool:
        if self.lock is None:
            self.lock = self._take_lock()
        else:
            self._extend()
        if self.lock is not None and not self._is_stored:
            self._store()
        return self.lock is not None

    def _take_lock(self) -> Any:
        """The lock, or None while another leads."""
        lock = self.client.lock(self._lock_name, timeout=self.lock_timeout, blocking=False)
        with self.ledger.leading("take the dispatcher's lock"):
            return lock if lock.acquire() else None

    def _extend(self) -> None:
        with self.ledger.leading("keep the dispatcher's lock"):
            self.lock.extend(self.lock_timeout, replace_ttl=True)

    def _release(self, lock: Any) -> None:
        try:
            with self.ledger.leading("give back the dispatcher's lock"):
                if lock.owned():
                    lock.release()
        except CoordinationUnavailable as error:
            _log.warning("beat-lock-not-released", reason=str(error))

    def _store(self) -> None:
        self._refuse_unknown_tasks()
        with self.ledger.leading("store the calendar for RedBeat's tools"):
            stored = {str(name) for name in self.client.smembers(self.app.redbeat_conf.statics_key)}
            self.app.conf.beat_schedule = {one.name: _stored(one) for one in self.catalog.everything}
            super().setup_schedule()
        self.ledger.forget(stored - {one.name for one in self.catalog.everything})
        self._is_stored = True
        _log.info("beat-leads", leader=self.leader, entries=len(self.catalog.everything))

    def _refuse_unknown_tasks(self) -> None:
        unknown = sorted({one.task for one in self.catalog.everything} - set(self.app.tasks))
        if unknown:
            raise SettingsError(
                f"the calendar {self.app.conf.g3zkp_calendar!r} names tasks that no worker has: {', '.join(unknown)}"
            )

    def _bear(self, error: TemporaryError) -> None:
        now = self.clock.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since >= self.lock_timeout:
            raise error
        _log.warning("beat-waits-for-redis", reason=str(error), seconds=round(now - self._away_since))

    # -- what is due ---------------------------------------------------------------------------------------------------

    def _due(self, now: datetime) -> list[DuePlan]:
        """Oldest slot first, so that what came first in the calendar goes out first after an absence."""
        last = self.ledger.last_slots(one.name for one in self.catalog.everything)
        plans = [self._plan(entry, last.get(entry.name), now) for entry in self.catalog.everything]
        return sorted((plan for plan in plans if plan is not None), key=lambda plan: plan.oldest)

    def _plan(self, entry: CalendarEntry, last: datetime | None, now: datetime) -> DuePlan | None:
        if last is None or last - now > CLOCK_TOLERANCE:
            last = self._begin(entry, last, now)
        return missed_slots(
            self.catalog.everything, entry, last=last, now=now, starting_deadline_seconds=self._deadline_seconds
        )

    def _begin(self, entry: CalendarEntry, last: datetime | None, now: datetime) -> datetime:
        """An entry seen for the first time has missed nothing. One that stands in the future would be silent until
        then: the clock that put it there was wrong, and it begins anew."""
        start = slot_before(entry, now)
        if last is not None:
            self._announce("clock-was-ahead", entry, last)
        self.ledger.advance(entry.name, expected=last, to=start)
        return start

    def _pause(self) -> float:
        now = self.clock.now()
        nearest = min((next_slot(one, now) for one in self.catalog.everything), default=now + timedelta(days=1))
        return min((nearest - now).total_seconds(), float(self.max_interval))

    @property
    def _deadline_seconds(self) -> float:
        return float(self.app.conf.beat_cron_starting_deadline or 0)

    # -- carrying it out -----------------------------------------------------------------------------------------------

    def _carry_out(self, plan: DuePlan) -> None:
        stands = plan.last
        if plan.was_missed:
            self._announce("missed", plan.entry, plan.newest, **_missed_facts(plan))
        for firing in plan.firings:
            self._settle(firing)
            self._advance(plan.entry, stands, firing.slot)
            stands = firing.slot
        if stands != plan.newest:
            self._advance(plan.entry, stands, plan.newest)

    def _settle(self, firing: Firing) -> None:
        if firing.superseded_by is not None:
            self._announce("superseded", firing.entry, firing.slot, by=firing.superseded_by.name)
            return
        self._extend()
        self._publish(firing.entry, firing.slot)

    def _publish(self, entry: CalendarEntry, slot: datetime) -> None:
        text = entry.slot_text(slot)
        try:
            # Denied to join, Celery does not subscribe this process to results that nobody here waits for.
            with denied_join_result():
                self.app.tasks[entry.task].apply_async(
                    args=entry.args, kwargs={**entry.kwargs, "slot": text}, **self._options(entry, slot)
                )
        except OperationalError as error:
            raise CoordinationUnavailable(f"cannot publish {entry.name} for {text}: {error}; it stays due") from error
        self.ledger.record_publish(entry=entry.name, slot=text, at=self.clock.now())
        if entry.recorded:
            # So that what was sent and not begun can be told from what was never sent.
            self._announce("published", entry, slot)
        else:
            _log.info("beat-published", entry=entry.name, slot=text)

    def _options(self, entry: CalendarEntry, slot: datetime) -> dict[str, Any]:
        headers = {"celery_beat_task": True, "g3zkp_entry": entry.name}
        options: dict[str, Any] = {"headers": headers, "retry_policy": PUBLISH_RETRIES}
        if entry.hard_limit_seconds is not None:
            options |= {"soft_time_limit": entry.soft_limit_seconds, "time_limit": entry.hard_limit_seconds}
        if entry.missed == "skip":
            # What nobody would start that late must not pile up in the queue of a fleet that is down.
            options["expires"] = slot + starting_deadline(entry, self._deadline_seconds)
        return options

    def _advance(self, entry: CalendarEntry, stands: datetime, slot: datetime) -> None:
        self.ledger.advance(entry.name, expected=stands, to=slot)
        with self.ledger.leading("show the entry as run in RedBeat's tools"):
            self.Entry(name=entry.name, app=self.app, **_stored(entry)).reschedule(last_run_at=slot)

    def _announce(self, event: str, entry: CalendarEntry, slot: datetime, **facts: str | int) -> None:
        text = entry.slot_text(slot)
        _log.info(f"beat-{event}", entry=entry.name, slot=text, **facts)
        announce: Announce | None = self.app.conf.g3zkp_beat_announce
        if announce is not None:
            announce(event, entry, text, facts)


def _stored(entry: CalendarEntry) -> dict[str, Any]:
    return {
        "task": entry.task,
        "schedule": celery_schedule(entry.cadence),
        "args": list(entry.args),
        "kwargs": dict(entry.kwargs),
    }


def _missed_facts(plan: DuePlan) -> dict[str, str | int]:
    """Which policy, which slots (design 8, rule 8)."""
    entry = plan.entry
    running = [entry.slot_text(one.slot) for one in plan.firings if one.superseded_by is None]
    facts: dict[str, str | int] = {"policy": entry.missed, "runs": len(running), "dropped": plan.dropped}
    if running:
        facts |= {"first_run": running[0], "last_run": running[-1]}
    if plan.first_dropped is not None:
        facts["first_dropped"] = entry.slot_text(plan.first_dropped)
    return facts
