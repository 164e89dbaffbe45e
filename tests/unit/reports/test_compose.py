from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.backup.evidence import Kept
from g3zkp_maint.coordination.journal import JournalEvent
from g3zkp_maint.metrics.facts import StoreFacts
from g3zkp_maint.reports.compose import compose
from g3zkp_maint.reports.facts import (
    CertificatesSeen,
    EntryWeek,
    Findings,
    KeyAge,
    Point,
    Speed,
    SpeedFigure,
    WeekFacts,
)
from g3zkp_maint.reports.page import page
from g3zkp_maint.reports.sources import Sources, StoredObject
from g3zkp_maint.reports.summary import summary
from g3zkp_maint.reports.week import Week
from g3zkp_maint.testing.maintenance_weeks import CALENDAR, records, sources

WEEK = Week(2026, 47)
WELL = sources(WEEK, weeks=3)
TROUBLED = sources(WEEK, weeks=3, is_troubled=True)


def entry(facts: WeekFacts, name: str) -> EntryWeek:
    return next(one for one in facts.entries if one.name == name)


def texts(facts: WeekFacts) -> list[str]:
    return [one.text for one in facts.attention]


def with_events(*events: JournalEvent, base: Sources = WELL) -> Sources:
    return replace(base, records=records([*(one.event for one in base.records), *events]))  # type: ignore[arg-type]


# -- the calendar against the journal ----------------------------------------------------------------------------------------


def test_a_week_in_which_all_ran_needs_nothing() -> None:
    facts = compose(WELL)
    assert (facts.verdict, facts.attention, facts.missed, facts.failures) == ("good", (), (), ())
    assert entry(facts, "health").count("ok") == entry(facts, "health").due == 7 * 288
    assert (entry(facts, "backup-incremental").count("ok"), entry(facts, "backup-incremental").count("superseded")) == (
        6,
        1,
    )
    assert entry(facts, "backup-full").count("ok") == 1
    assert summary(facts)[0] == "Maintenance in week 2026-W47: all is well"


def test_a_slot_without_a_run_is_missed_a_failed_one_failed_and_each_on_its_day() -> None:
    facts = compose(TROUBLED)
    days = [dict(day.marks) for day in entry(facts, "backup-incremental").days]
    assert days[1:5] == [{"missed": 1}, {"ok": 1}, {"ok": 1}, {"failed": 1}]
    assert [(one.entry, one.slots) for one in facts.missed] == [("backup-incremental", ("2026-11-17T02:00Z",))]
    assert entry(facts, "cleanup").days[2].marks == {"partial": 1}
    assert facts.verdict == "bad"
    assert "1 run failed: backup.run (store-full)" in texts(facts)
    assert "1 slot missed: backup-incremental (1)" in texts(facts)


def test_entries_that_keep_no_records_are_not_called_missed() -> None:
    recorded = {one.name for one in CALENDAR if one.recorded}
    assert {one.name for one in compose(WELL).entries} <= recorded


def test_a_slot_that_waits_in_its_queue_is_open_and_one_of_use_to_nobody_is_missed() -> None:
    slot = WEEK.end - timedelta(hours=21)
    now = WEEK.end + timedelta(hours=6)
    bare = [one.event for one in WELL.records if one.event.slot != "2026-11-22T03:00Z"]
    sent = JournalEvent(
        "published", "cleanup:s", "cleanup.run", "2026-11-22T03:00Z", owner="beat", at=slot, detail={"entry": "cleanup"}
    )
    told = replace(WELL, records=records([*bare, sent]), now=now)  # type: ignore[arg-type]
    assert entry(compose(told), "cleanup").days[6].marks == {"open": 1}
    silent = replace(WELL, records=records(iter(bare)), now=now)
    assert entry(compose(silent), "cleanup").days[6].marks == {"missed": 1}


def test_what_is_from_before_the_journal_is_unknown_and_not_missed() -> None:
    short = replace(WELL, begins=WEEK.start + timedelta(days=2), records=[])
    facts = compose(short)
    assert [list(day.marks) for day in entry(facts, "cleanup").days[:3]] == [["unknown"], ["unknown"], ["missed"]]
    assert facts.trend[-1].missed is None
    assert "slots from before the journal's first record" in " ".join(texts(facts))


def test_a_week_under_way_is_judged_up_to_now() -> None:
    now = WEEK.start + timedelta(days=2, hours=3, minutes=30)
    early = [one for one in WELL.records if one.event.at is not None and one.event.at < now]
    facts = compose(replace(WELL, now=now, records=early))
    assert not facts.is_over
    assert [day.due for day in entry(facts, "cleanup").days] == [1, 1, 1, 0, 0, 0, 0]
    assert facts.missed == ()


# -- failures, and what is besides -----------------------------------------------------------------------------------------------


def test_failures_are_told_by_task_and_code_with_the_last_of_them() -> None:
    at = WEEK.start + timedelta(days=1)
    more = [
        JournalEvent("failed", f"v{number}", "backup.verify", f"call-{number}", at=at + timedelta(hours=number),
                     outcome="archive-corrupt", detail={"error": f"number {number}"})
        for number in range(3)
    ]  # fmt: skip
    (found,) = compose(with_events(*more)).failures
    assert (found.task, found.code, found.count, found.slot) == ("backup.verify", "archive-corrupt", 3, "call-2")
    assert found.meaning.startswith("An archive")


def test_runs_for_no_slot_are_told_by_task_besides_the_calendar() -> None:
    at = WEEK.start + timedelta(days=1)
    events = [
        JournalEvent("started", "p", "backup.prune", "backup.run:x", at=at),
        JournalEvent("finished", "p", "backup.prune", "backup.run:x", step="prune", at=at, bytes=500),
        JournalEvent("finished", "p", "backup.prune", "backup.run:x", at=at + timedelta(seconds=4), outcome="ok"),
    ]
    facts = compose(with_events(*events))
    assert [(one.task, one.count, one.failed, one.seconds, one.bytes) for one in facts.besides] == [
        ("backup.prune", 1, 0, 4, 500)
    ]
    assert facts.storage is not None
    assert facts.storage.freed_bytes == 500


# -- weeks in a row ------------------------------------------------------------------------------------------------------------------


def test_the_trend_goes_back_as_far_as_the_journal_with_how_long_runs_took() -> None:
    trend = compose(WELL).trend
    assert [point.week for point in trend] == ["2026-W45", "2026-W46", "2026-W47"]
    assert all(point.durations["backup.run"].count == 7 for point in trend)
    assert [point.missed for point in trend] == [None, None, 0]
    assert all(point.backup_bytes for point in trend)


def test_weeks_that_earlier_reports_told_of_stand_as_they_told_them() -> None:
    earlier = (Point(week="2026-W40", missed=3, store_bytes=77), Point(week="2026-W46", missed=5, store_bytes=99))
    trend = {point.week: point for point in compose(replace(WELL, before=earlier)).trend}
    assert (trend["2026-W40"].missed, trend["2026-W46"].missed, trend["2026-W46"].store_bytes) == (3, 5, 99)
    assert trend["2026-W47"].store_bytes == sum(one.size for one in WELL.objects or ())


def test_this_week_is_not_taken_from_an_earlier_report_of_itself() -> None:
    assert compose(replace(WELL, before=(Point(week="2026-W47", missed=9),))).trend[-1].missed == 0


def test_backups_of_the_week_are_those_in_the_store_by_their_names() -> None:
    facts = compose(replace(WELL, objects=[*(WELL.objects or ()), StoredObject("2026/11/g3zkp_full_2026/x", 5)]))
    assert facts.storage is not None
    assert [one.type for one in facts.storage.made] == ["incremental"] * 6 + ["full"]


# -- health ----------------------------------------------------------------------------------------------------------------------------


def test_an_outage_is_told_with_its_spell_and_its_share() -> None:
    health = compose(TROUBLED).health
    assert health is not None
    assert (health.looks, health.expected) == (2016, 2016)
    assert health.up_share == pytest.approx(1 - 12 / 2016)
    (spell,) = health.spells
    assert (spell.level, spell.since.hour, spell.until and spell.until.hour) == ("down", 9, 10)
    assert health.days[3].down == 12
    assert health.slowest_ms is not None
    assert health.slowest_ms < 5000, "what did not answer has no latency"


def test_a_week_without_looks_has_no_health_and_makes_none_up() -> None:
    assert compose(replace(WELL, records=[])).health is None


# -- what needs attention ----------------------------------------------------------------------------------------------------------------


def store(**told: object) -> StoreFacts:
    newest = (WEEK.end + timedelta(hours=2)).timestamp()
    return StoreFacts(objects=1, bytes=1, backups=1, **{"newest_at": newest, **told})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "urgency", "text"),
    [
        (store(newest_at=0.0), "bad", "There is no whole backup that can be believed"),
        (
            store(newest_at=(WEEK.end - timedelta(days=2)).timestamp()),
            "bad",
            "The newest whole backup is of Sat 21 Nov, 00:00",
        ),
        (store(invalid=2), "bad", "2 backups must not be believed: see backup list"),
        (store(is_partial=True), "warn", "The newest backup is partial"),
    ],
)
def test_what_is_wrong_with_backups_needs_attention(seen: StoreFacts, urgency: str, text: str) -> None:
    (found,) = compose(replace(WELL, store=seen)).attention
    assert (found.urgency, found.text, found.anchor) == (urgency, text, "storage")


def test_backups_that_could_not_be_judged_are_not_called_missing() -> None:
    facts = compose(replace(WELL, store=None, unknown=("backups in the store (key-material)",)))
    assert texts(facts) == ["Not known: backups in the store (key-material)"]
    assert "not known" in page(facts)


def test_a_failed_drill_says_which_check_and_a_forged_one_that_it_is_not_believed() -> None:
    assert "The last drill failed: files:ipfs (differ: 2)" in texts(compose(TROUBLED))
    forged = [Kept("drills/x.json", None, why="its signature is not of a trusted signer"), *(WELL.evidence or ())]
    facts = compose(replace(WELL, evidence=forged))
    assert texts(facts) == ["1 piece of drill evidence must not be believed"]
    assert compose(replace(WELL, evidence=[])).attention[0].text.startswith("No drill has proved a restore")


def key(age_days: float | None, *, due: bool, problem: str = "") -> KeyAge:
    age = None if age_days is None else age_days * 86_400
    return KeyAge(type="signing", age_seconds=age, every_seconds=30 * 86_400, next_due=None, due=due, problem=problem)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (key(20, due=False), []),
        (key(33, due=True), [("warn", "Keys due for rotation: signing")]),
        (key(40, due=True), [("bad", "Keys overdue for rotation: signing")]),
        (key(None, due=True, problem="no key"), [("warn", "Keys due for rotation: signing (no key)")]),
        (key(None, due=False, problem="not read"), []),
    ],
)
def test_keys_that_are_due_are_told_and_overdue_ones_more_urgently(seen: KeyAge, told: list[tuple[str, str]]) -> None:
    facts = compose(replace(WELL, keys=[seen]))
    assert [(one.urgency, one.text) for one in facts.attention] == told


def test_a_benchmark_that_is_worse_and_a_certificate_that_ends_are_worth_a_look() -> None:
    at = datetime(2026, 11, 22, 4, tzinfo=UTC)
    figures = (SpeedFigure(name="health.p95", now="15 ms", before="10 ms", change=0.5, is_worse=True),)
    made = replace(WELL, speed=Speed(at=at, figures=figures, runs=()))
    assert texts(compose(made)) == ["The benchmark is worse than before: health.p95"]
    for days, said in ((20, []), (3.5, ["A certificate ends in 3 days"]), (-1, ["A certificate has ended"])):
        ends = CertificatesSeen(count=1, first_end=WELL.now + timedelta(days=days))
        assert texts(compose(replace(WELL, certificates=ends))) == said


def test_critical_findings_come_first_and_what_was_not_to_be_asked_is_told() -> None:
    counts = {str(one): 1 for one in Severity}
    findings = Findings(at=datetime(2026, 11, 22, 4, tzinfo=UTC), counts=counts)
    facts = compose(replace(WELL, findings=findings, unknown=("the store cannot be reached",), objects=None))
    assert [(one.urgency, one.text) for one in facts.attention] == [
        ("bad", "1 critical finding of the security scan"),
        ("warn", "1 finding of high severity"),
        ("warn", "Not known: the store cannot be reached"),
    ]
    assert facts.storage is None


def test_the_same_sources_make_the_same_document_and_it_survives_json() -> None:
    first, second = compose(TROUBLED), compose(TROUBLED)
    assert first == second
    assert WeekFacts.model_validate_json(first.model_dump_json()) == first


def test_the_summary_is_short_and_counts_what_it_leaves_out() -> None:
    facts = compose(TROUBLED)
    many = facts.model_copy(update={"attention": facts.attention * 5})
    lines = summary(many)
    assert lines[0] == "Maintenance in week 2026-W47: action needed"
    assert lines[-1] == f"and {len(many.attention) - 10} more"
