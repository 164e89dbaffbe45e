"""The weekly report: gathered by the ports of this process, composed, rendered, kept in the store, and told.

What cannot be asked is left out of a report, and named in it; what may only be away for now is tried again first, as long
as the run has attempts left: a report is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Any, TypeVar

from g3zkp_maint import __version__
from g3zkp_maint.audit.finding import Finding, worst_first
from g3zkp_maint.audit.finding import Severity as FindingSeverity
from g3zkp_maint.audit.sources import keys_by_journal
from g3zkp_maint.backup.evidence import Kept, newest_first
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.calendar.cadence import Rank
from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.calendar.firing import Calendar
from g3zkp_maint.calendar.slot import parse_slot
from g3zkp_maint.coordination.journal import JournalRecord
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import BadInput, MaintenanceError, TemporaryError
from g3zkp_maint.metrics.store_facts import look_into_store
from g3zkp_maint.notices import Notice, Severity
from g3zkp_maint.operations import audit, certificates, performance, windows
from g3zkp_maint.performance.comparison import Comparison, Limits, compare, shown
from g3zkp_maint.performance.figure import Figure
from g3zkp_maint.reports import shelf
from g3zkp_maint.reports.compose import compose
from g3zkp_maint.reports.facts import (
    CertificatesSeen,
    Findings,
    FindingSeen,
    KeyAge,
    Point,
    Speed,
    SpeedFigure,
    SpeedRun,
    WeekFacts,
    WindowHeld,
)
from g3zkp_maint.reports.page import page
from g3zkp_maint.reports.sources import Sources, StoredObject
from g3zkp_maint.reports.summary import summary
from g3zkp_maint.reports.trend import WEEKS
from g3zkp_maint.reports.week import Week
from g3zkp_maint.rotation.site import all_standings, intervals

_MOST_EVIDENCE = 60
_Found = TypeVar("_Found")


def weekly(services: Services, slot: str, held: Held) -> dict[str, Any]:
    """The report of the week before: made, kept and told, each once. A notice that does not go out is tried again."""
    week = week_before(services, slot)
    with held.step("compose") as step:
        facts = facts_of(services, week, is_patient=held.attempt < services.runs.max_attempts)
        step.note(week=str(week), verdict=facts.verdict, attention=len(facts.attention), unknown=len(facts.unknown))
    held.guard.verify()
    with held.step("store") as step:
        facts, is_new = shelf.keep(services.primary_repository, facts, page)
        step.note(key=shelf.page_key(week), new=is_new)
    with held.step("notice") as step:
        done = services.notices.send_once(notice(facts))
        step.note(sent=len(done.sent), already=len(done.already))
    return {
        "outcome": "ok",
        "week": str(week),
        "verdict": facts.verdict,
        "attention": len(facts.attention),
        "report": shelf.page_key(week),
    }


def week_before(services: Services, slot: str) -> Week:
    """The one before the slot's; of a run that is for no slot, before now."""
    at = services.clock.now()
    with suppress(BadInput):  # a caller's key
        at = parse_slot(slot)
    return Week.of(at).back(1)


def make(services: Services, week: Week) -> tuple[WeekFacts, bool]:
    """Composes and keeps the report of a week that is over; False where it was kept already. Raises BadInput for one that
    is not."""
    if services.clock.now() < week.end:
        raise BadInput(
            f"{week} is over on {week.end:%Y-%m-%d} 00:00Z: until then it can be written to a file, by --output"
        )
    return shelf.keep(services.primary_repository, facts_of(services, week), page)


def notice(facts: WeekFacts) -> Notice:
    """Short, and where the report is."""
    lines = summary(facts)
    return Notice(
        key=f"report:{facts.week}",
        title=lines[0],
        body="\n".join([*lines[1:], f"Report: {shelf.page_key(Week.parse(facts.week))} in the store"]),
        severity=Severity.WARNING if facts.verdict == "bad" else Severity.INFO,
        at=facts.made_at,
    )


# -- gathering -------------------------------------------------------------------------------------------------------------


def facts_of(services: Services, week: Week, *, is_patient: bool = False) -> WeekFacts:
    """Composed of what can be asked now. With `is_patient` what may be back soon is not left out: raises TemporaryError."""
    calendar = load_catalog(services.settings.beat.calendar).everything
    unknown: list[str] = []

    def asked(what: str, ask: Callable[[], _Found]) -> _Found | None:
        try:
            return ask()
        except TemporaryError:
            if is_patient:
                raise
            unknown.append(f"{what} cannot be reached")
        except MaintenanceError as error:
            # Its text may name files; the code leads to the runbook.
            unknown.append(f"{what} ({error.code})")
        return None

    return compose(
        Sources(
            week=week,
            now=services.clock.now(),
            product=__version__,
            namespace=services.settings.platform.namespace,
            calendar=calendar,
            records=list(_records(services, week, calendar)),
            begins=next((one.event.at for one in services.journal.read(limit=1)), None),
            objects=asked("what is in the store", lambda: _objects(services)),
            store=asked("backups in the store", lambda: look_into_store(services.primary_repository)),
            evidence=asked("the evidence of drills", lambda: _evidence(services, week)),
            keys=asked("the ages of the messenger's keys", lambda: _keys(services)),
            windows=asked("maintenance windows", lambda: list(_windows(services, week))) or (),
            findings=asked("findings of the security scan", lambda: _findings(services)),
            speed=asked("the benchmarks", lambda: _speed(services)),
            certificates=asked("the certificates", lambda: _certificates(services)),
            before=asked("earlier reports", lambda: _before(services, week)) or (),
            unknown=tuple(unknown),
        )
    )


def _records(services: Services, week: Week, calendar: Calendar) -> Iterator[JournalRecord]:
    """All of the week and since; of the weeks before only how runs ended, and nothing of what runs every few minutes."""
    often = {entry.task for entry in calendar if entry.cadence.rank == Rank.FREQUENT}
    start = week.start.isoformat(timespec="milliseconds")

    def matters(fields: Mapping[str, str]) -> bool:
        return fields["at"] >= start or not (fields["step"] or fields["task"] in often or fields["owner"] == "beat")

    return services.journal.read(week.back(WEEKS - 1).start, only=matters)


def _objects(services: Services) -> list[StoredObject]:
    repository = services.primary_repository
    return [StoredObject(repository.below(one.key), one.size) for one in repository.store.list(repository.full_key(""))]


def _evidence(services: Services, week: Week) -> list[Kept]:
    since = week.back(WEEKS - 1).start
    kept = islice(newest_first(services.primary_repository), _MOST_EVIDENCE)
    return list(takewhile(lambda one: one.evidence is None or one.evidence.drilled_at >= since, kept))


def _keys(services: Services) -> list[KeyAge]:
    """From the Secret, or, for a fleet that may not read it, from the journal."""
    settings, now = services.settings, services.clock.now()
    every = intervals(settings.rotation)
    if not settings.audit.look_into_secret:
        seen = keys_by_journal(services.journal, every, now).value
        return [_key(one.type, one.rotated_at, one.every.total_seconds(), one.problem, now) for one in seen]
    secret = services.platform.read_secret(settings.messenger.keys_secret)
    return [
        KeyAge(
            type=one.type,
            age_seconds=None if one.last is None else (now - one.last).total_seconds(),
            every_seconds=one.every.total_seconds(),
            next_due=one.next_due,
            due=one.is_due(now),
            problem=one.fault or one.doubt,
        )
        for one in all_standings(secret, settings.rotation, now)
    ]


def _windows(services: Services, week: Week) -> Iterator[WindowHeld]:
    """Those that took place in the week, by what is on record, and those planned for the next one."""
    for one in sorted(services.windows.windows().values(), key=lambda window: window.start):
        if one.verdict == "takes place" and one.meets(week.start, week.end):
            state = "took place" if one.stop is None else one.stop.how
            yield WindowHeld(
                id=one.id,
                kind=str(one.kind),
                start=one.start,
                end=one.until,
                what=one.what,
                state=state,
            )
    following = Week.of(week.end)
    for planned in windows.planned(services):
        one = planned.window
        if planned.takes_place and one.meets(following.start, following.end) and not one.meets(week.start, week.end):
            yield WindowHeld(
                id=one.id,
                kind=str(one.kind),
                start=one.start,
                end=one.end,
                what=one.what,
                state="planned",
                is_next=True,
            )


def _findings(services: Services) -> Findings | None:
    """None where no scan has run."""
    seen = audit.recall(services)
    if seen is None:
        return None
    by_check: dict[tuple[FindingSeverity, str], list[Finding]] = {}
    for one in worst_first(seen.findings):
        by_check.setdefault((one.severity, one.check), []).append(one)
    return Findings(
        at=seen.at,
        counts={str(one): sum(found.severity is one for found in seen.findings) for one in FindingSeverity},
        shown=tuple(
            FindingSeen(severity=str(severity), check=check, count=len(found), remedy=found[0].remedy)
            for (severity, check), found in by_check.items()
        ),
    )


def _speed(services: Services) -> Speed | None:
    """None where no benchmark has run."""
    runs = performance.earlier(services)
    if not runs:
        return None
    last, limits = runs[-1], performance.limits(services)
    compared = {one.figure.name: one for one in compare(runs[:-1], last, limits)}
    return Speed(
        at=last.at,
        figures=tuple(_speed_figure(one, compared.get(one.name), limits) for one in last.figures),
        runs=tuple(
            SpeedRun(at=one.at, health_ms=_ms(one.value("health.p95")), ready_ms=_ms(one.value("ready.p95")))
            for one in runs[-WEEKS:]
        ),
    )


def _speed_figure(figure: Figure, found: Comparison | None, limits: Limits) -> SpeedFigure:
    now = shown(figure.value, figure.unit)
    if found is None:
        return SpeedFigure(name=figure.name, now=now)
    before = shown(found.median, figure.unit)
    return SpeedFigure(name=figure.name, now=now, before=before, change=found.worse, is_worse=found.is_finding(limits))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _certificates(services: Services) -> CertificatesSeen | None:
    """None where no look has seen any."""
    ends = certificates.ends(services).values()
    return CertificatesSeen(count=len(ends), first_end=datetime.fromtimestamp(min(ends), UTC)) if ends else None


def _before(services: Services, week: Week) -> tuple[Point, ...]:
    """The weeks that the newest earlier report tells of."""
    earlier = next((one for one in shelf.reports(services.primary_repository) if one.week < week), None)
    facts = shelf.read_facts(services.primary_repository, earlier.week) if earlier else None
    return facts.trend if facts else ()


def _key(type: str, at: datetime | None, every_seconds: float, problem: str, now: datetime) -> KeyAge:
    age = None if at is None else (now - at).total_seconds()
    return KeyAge(
        type=type,
        age_seconds=age,
        every_seconds=every_seconds,
        next_due=None if age is None else datetime.fromtimestamp(now.timestamp() - age + every_seconds, now.tzinfo),
        due=age is not None and age >= every_seconds,
        problem=problem,
    )
