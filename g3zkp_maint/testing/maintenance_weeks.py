"""Weeks of maintenance as journal, store, Secret and evidence would tell of them, for tests of what is made of that."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from g3zkp_maint.backup.evidence import Check, Evidence, Kept
from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.calendar.cadence import Rank
from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.calendar.firing import Firing, firings
from g3zkp_maint.coordination.journal import JournalEvent, JournalRecord, Scalar
from g3zkp_maint.metrics.facts import StoreFacts
from g3zkp_maint.reports.facts import KeyAge
from g3zkp_maint.reports.sources import Sources, StoredObject
from g3zkp_maint.reports.week import Week

CALENDAR = load_catalog("beat_schedule").everything
_SECONDS = {"backup.run": 410, "cleanup.run": 35, "backup.reread": 1900, "observe.health": 0.2}
_MIB = 1 << 20
_DAY_SECONDS = 86_400


def told_events(
    start: datetime, end: datetime, *, trouble: Week | None = None, often_since: datetime | None = None
) -> Iterator[JournalEvent]:
    """What a healthy calendar leaves in the journal; in the week `trouble` some of it goes wrong: a failed and a missed
    backup, an outage of an hour, a partial cleanup. What runs every few minutes is told from `often_since` on."""
    luck = random.Random(7)  # noqa: S311  the same weeks each time
    for firing in firings(CALENDAR, start, end):
        is_told = often_since is None or firing.slot >= often_since or firing.entry.cadence.rank != Rank.FREQUENT
        if is_told and firing.entry.recorded and firing.superseded_by is None:
            day = firing.slot.weekday() if trouble is not None and firing.slot in trouble else -1
            yield from _run(firing, luck, day)


def records(events: Iterator[JournalEvent]) -> list[JournalRecord]:
    """Numbered, in the order of their times."""
    ordered = sorted(events, key=lambda event: event.at or datetime.min.replace(tzinfo=UTC))
    return [JournalRecord(f"{number}-0", number, "", event) for number, event in enumerate(ordered, 1)]


def sources(week: Week, *, weeks: int = 10, is_troubled: bool = False, now: datetime | None = None) -> Sources:
    """All that a report of `week` is composed of, after so many weeks, six hours after its end."""
    made = now or week.end + timedelta(hours=6)
    begins = week.back(weeks - 1).start
    trouble = week if is_troubled else None
    told = records(told_events(begins, made, trouble=trouble, often_since=week.start))
    objects = stored(begins, made)
    facts = StoreFacts(
        objects=len(objects),
        bytes=sum(one.size for one in objects),
        backups=7 * weeks,
        newest_at=(made - timedelta(hours=4)).timestamp(),
        newest_full_at=(week.end - timedelta(hours=22)).timestamp(),
    )
    return Sources(
        week=week,
        now=made,
        product="0.1.0",
        namespace="g3zkp",
        calendar=CALENDAR,
        records=told,
        begins=begins,
        objects=objects,
        store=facts,
        evidence=drills(week, weeks, is_troubled=is_troubled),
        keys=keys(made, is_troubled=is_troubled),
    )


def stored(start: datetime, end: datetime) -> list[StoredObject]:
    """Backups of each day, growing; the full ones larger."""
    found, day = [], start + timedelta(hours=2)
    while day < end:
        kind = BackupType.FULL if day.isoweekday() == 7 else BackupType.INCREMENTAL
        name = BackupName(day, kind)
        size = (900 if kind is BackupType.FULL else 60) * _MIB + (day - start).days * 3 * _MIB
        found += [
            StoredObject(f"{name.folder}/ipfs.000.tar.zst.age", size),
            StoredObject(f"{name.folder}/MANIFEST.json", 9000),
        ]
        day += timedelta(days=1)
    return found


def drills(week: Week, weeks: int, *, is_troubled: bool) -> list[Kept]:
    """One each Sunday, newest first; in trouble the newest failed."""
    found = []
    for back in range(weeks):
        at = week.back(back).end - timedelta(hours=20)
        failed = is_troubled and back == 0
        checks = (Check(name="files:ipfs", passed=not failed, counts={"differ": 2 if failed else 0}),)
        evidence = Evidence(
            product="0.1.0",
            backup=str(BackupName(at - timedelta(hours=2), BackupType.FULL)),
            manifest_sha256="0" * 64,
            run=f"r{back}",
            drilled_at=at,
            outcome="failed" if failed else "ok",
            recovery_ms=190_000 + 4000 * (weeks - back),
            recovery_point_seconds=7000 + back,
            entries=120_000,
            bytes=900 * _MIB,
            checks=checks,
        )
        found.append(Kept(f"drills/{back}.json", evidence, signer="backup"))
    return found


def keys(now: datetime, *, is_troubled: bool) -> Sequence[KeyAge]:
    """In trouble one of them is overdue."""
    ages = {"identity": (95 if is_troubled else 40, 90), "signing": (12, 30), "encryption": (25, 30)}
    return tuple(
        KeyAge(
            type=name,
            age_seconds=age * _DAY_SECONDS,
            every_seconds=every * _DAY_SECONDS,
            next_due=now + timedelta(days=every - age),
            due=age >= every,
        )
        for name, (age, every) in ages.items()
    )


def _run(firing: Firing, luck: random.Random, day: int) -> Iterator[JournalEvent]:
    """`day` of a week in trouble, from 0; -1 in any other."""
    entry, text = firing.entry, firing.entry.slot_text(firing.slot)
    run, task, at = f"{entry.name}-{text}", entry.task, firing.slot + timedelta(milliseconds=40)
    if task == "observe.health":
        yield from _look(run, text, at, luck, is_down=day == 3 and 9 <= at.hour < 10)
        return
    if task == "backup.run" and day == 1:
        return
    yield JournalEvent(
        "published", f"{entry.name}:{text}", task, text, owner="beat", at=at, detail={"entry": entry.name}
    )
    owner = f"{entry.queue}@maintenance"
    at += timedelta(seconds=1)
    yield JournalEvent("started", run, task, text, at=at, owner=owner)
    ends = at + timedelta(seconds=_SECONDS.get(task, 20) * luck.uniform(0.8, 1.5))
    moved = luck.randrange(40, 90) * _MIB if task in {"backup.run", "backup.reread"} else None
    yield JournalEvent("started", run, task, text, step="work", at=at, owner=owner, attempt=1)
    if (task, day) == ("backup.run", 4):
        why = {"error": "the store has 12 MiB left and the archive needs 60 MiB; make room, or raise the quota"}
        yield JournalEvent("failed", run, task, text, step="work", at=ends, outcome="store-full", detail=why)
        yield JournalEvent("failed", run, task, text, at=ends, outcome="store-full", owner=owner, detail=why)
        return
    yield JournalEvent("finished", run, task, text, step="work", at=ends, outcome="ok", bytes=moved, attempt=1)
    outcome = "partial" if (task, day) == ("cleanup.run", 2) else "ok"
    yield JournalEvent("finished", run, task, text, at=ends, outcome=outcome, owner=owner)


def _look(run: str, text: str, at: datetime, luck: random.Random, *, is_down: bool) -> Iterator[JournalEvent]:
    task, owner = "observe.health", "observe@maintenance"
    ms = 5000 if is_down else round(18 * luck.lognormvariate(0, 0.45))
    found = "down" if is_down else "healthy"
    yield JournalEvent("started", run, task, text, at=at, owner=owner)
    ends = at + timedelta(milliseconds=ms)
    detail: dict[str, Scalar] = {"found": found, "state": found, "slowest_ms": ms, "problems": int(is_down)}
    outcome = "failed" if is_down else "ok"
    yield JournalEvent("finished", run, task, text, step="check", at=ends, outcome=outcome, detail=detail)
    yield JournalEvent("finished", run, task, text, at=ends, outcome="ok", owner=owner)
