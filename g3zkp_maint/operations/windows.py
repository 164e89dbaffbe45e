"""Maintenance windows: what is planned, changed and told of them, and whether disruptive work may start.

`tend` is the task that looks after them, every few minutes: it saves what the settings have changed, tells people what they
are to know, and keeps Alertmanager's silences. Each of these can be repeated without harm. The command line tends the one
window that it has changed, at once; what cannot be reached from there, the task makes up for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from g3zkp_maint.alertmanager import Alertmanager
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import AlertmanagerUnavailable, HeldBack, MaintenanceError, NoticeNotSent, OutsideWindow
from g3zkp_maint.windows import words
from g3zkp_maint.windows.leave import Forced, Leave, Refusal, Work, heed, may_start, unheard
from g3zkp_maint.windows.pace import expectation, past_runs
from g3zkp_maint.windows.plan import Occurrence, plan_windows, unsaved
from g3zkp_maint.windows.proposal import Proposal, propose, stopped
from g3zkp_maint.windows.silence import plan_silences
from g3zkp_maint.windows.telling import Told, advance
from g3zkp_maint.windows.window import Window

TASK = "observe.window_notices"
#: What is over for longer is forgotten.
_KEPT = timedelta(days=90)
#: How far back the journal is read for how long work takes.
_MEMORY = timedelta(days=365)


# -- what is planned -------------------------------------------------------------------------------------------------------


def planned(services: Services) -> tuple[Occurrence, ...]:
    """Every window that is open or to come."""
    return _plan(services, services.windows.windows(), services.clock.now())


def feed(services: Services) -> bytes:
    """The same as iCalendar."""
    from g3zkp_maint.windows.feed import feed as as_feed  # noqa: PLC0415 -- fleets do without its library, the exporter until asked

    return as_feed(planned(services), services.clock.now())


def open_window(services: Services, wish: Proposal, *, dry_run: bool = False) -> Window:
    """Plans the window of `wish`, or opens it where it begins now. Raises BadInput; WindowChanged."""
    now, suffix = services.clock.now(), secrets.token_hex(2)

    def decide(records: dict[str, Window]) -> Iterable[Window]:
        return (propose(wish, _plan(services, records, now), services.settings.windows.freezes, now, suffix=suffix),)

    if dry_run:
        (window,) = decide(services.windows.windows())
    else:
        (window,) = services.windows.change(decide)
    return window


def close_window(services: Services, id: str, *, why: str, by: str) -> Window:
    """Closes an open window, cancels one that is to come. Raises BadInput; WindowChanged."""
    now = services.clock.now()

    def decide(records: dict[str, Window]) -> Iterable[Window]:
        return (stopped(id, _plan(services, records, now), now, why=why, by=by),)

    (window,) = services.windows.change(decide)
    return window


def _plan(services: Services, records: Mapping[str, Window], now: datetime) -> tuple[Occurrence, ...]:
    return plan_windows(services.settings.windows, records, now)


# -- whether work may start ------------------------------------------------------------------------------------------------


def work_of(
    services: Services, task: str, what: str, *, first_seconds: float, first_basis: str, heeds_alerts: bool = True
) -> Work:
    """With the time that past runs of `task` have taken; where none has ended well, `first_seconds`, which are known from
    `first_basis`."""
    past = past_runs(services.journal.read(services.clock.now() - _MEMORY, task=task))
    seconds, basis = expectation(past, first_seconds=first_seconds, first_basis=first_basis)
    return Work(what, seconds, basis, heeds_alerts)


def take_leave(services: Services, work: Callable[[], Work], held: Held, *, force: bool, reason: str) -> None:
    """Leave for work that starts now, as a step of its run, so that the journal keeps what came of it. Raises
    OutsideWindow, HeldBack."""
    with held.step(words.STEP) as step:
        found = _decide(services, work, force=force, reason=reason)
        step.note(**found.facts())
        _require(found)


def ask_leave(services: Services, work: Callable[[], Work], *, force: bool, reason: str) -> Leave | Forced:
    """As `take_leave`, before there is a run. Raises OutsideWindow, HeldBack."""
    return _require(_decide(services, work, force=force, reason=reason))


def _decide(services: Services, work: Callable[[], Work], *, force: bool, reason: str) -> Leave | Forced | Refusal:
    if force and reason.strip():
        return Forced(reason.strip())
    settings, now, wanted = services.settings.windows, services.clock.now(), work()
    wait = timedelta(minutes=settings.wait_minutes)
    found = may_start(wanted, planned(services), now, wait=wait, freezes=settings.freezes)
    if isinstance(found, Refusal) or not wanted.heeds_alerts or services.alertmanager is None:
        return found
    try:
        firing = services.alertmanager.firing(settings.holding_alerts)
    except AlertmanagerUnavailable as error:
        return unheard(found, now, error=str(error), goes_on=settings.alertmanager_down == "go")
    return heed(found, now, firing=firing)


def _require(found: Leave | Forced | Refusal) -> Leave | Forced:
    if not isinstance(found, Refusal):
        return found
    if found.retry_seconds is not None:
        raise HeldBack(found.why, retry_after_seconds=found.retry_seconds)
    raise OutsideWindow(f"{found.why}; force and a reason go past that")


# -- looking after them ----------------------------------------------------------------------------------------------------


def tend(services: Services, held: Held, *, only: str | None = None) -> dict[str, Any]:
    """Saves, tells, silences; with `only` for that window alone, and saves nothing of the settings'. Raises NoticeNotSent,
    AlertmanagerUnavailable, each after all else was done."""
    if only is None:
        with held.step("plan") as step:
            saved = services.windows.change(lambda records: unsaved(_plan(services, records, services.clock.now())))
            step.note(saved=len(saved))
    held.guard.verify()
    plan, now = planned(services), services.clock.now()
    chosen = plan if only is None else tuple(one for one in plan if one.window.id == only)
    failures: list[MaintenanceError] = []
    sent = _attempt(held, "tell", failures, partial(_tell, services, chosen, now))
    silences = {}
    if services.alertmanager is not None and services.settings.windows.silenced_alerts:
        silences = _attempt(held, "silence", failures, partial(_silence, services.alertmanager, plan, now, only=only))
    if only is None:
        _forget(services)
    if failures:
        raise failures[0]
    return {"open": [one.window.id for one in chosen if one.is_open(now)], **sent, **silences}


def _attempt(
    held: Held, name: str, failures: list[MaintenanceError], work: Callable[[], dict[str, int]]
) -> dict[str, int]:
    """A step whose failure, which the journal tells, keeps no other from its turn."""
    try:
        with held.step(name) as step:
            found = work()
            step.note(**found)
            return found
    except (NoticeNotSent, AlertmanagerUnavailable) as error:
        failures.append(error)
        return {}


def _tell(services: Services, plan: Sequence[Occurrence], now: datetime) -> dict[str, int]:
    """What is new is written down before it is sent: whoever comes after a kill sends just that."""

    def decide(told: dict[str, Told]) -> dict[str, Told]:
        found = ((one.window.id, advance(one, told.get(one.window.id), now)) for one in plan)
        return {name: step for name, step in found if step is not None}

    services.windows.change_told(decide)
    ids = {one.window.id for one in plan}
    current = [told for name, told in services.windows.told().items() if name in ids and now < told.until]
    deliveries, failures = 0, list[str]()
    for told in current:
        try:
            deliveries += len(services.notices.send_once(told.notice()).sent)
        except NoticeNotSent as error:
            failures.append(str(error))
    if failures:
        raise NoticeNotSent("; ".join(failures))
    return {"sent": deliveries}


def _silence(
    alertmanager: Alertmanager, plan: Sequence[Occurrence], now: datetime, *, only: str | None
) -> dict[str, int]:
    found = plan_silences(plan, alertmanager.silences(), now)
    puts, lifts = ([one for one in group if only in {None, one.window}] for group in (found.puts, found.lifts))
    for silence in puts:
        alertmanager.put(silence)
    for silence in lifts:
        alertmanager.lift(silence)
    return {"silenced": len(puts), "lifted": len(lifts)}


def _forget(services: Services) -> None:
    before = services.clock.now() - _KEPT
    old = [name for name, one in services.windows.windows().items() if one.end < before]
    services.windows.forget(old)
