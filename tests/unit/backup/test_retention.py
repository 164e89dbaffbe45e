"""What retention keeps, as tables; and what must hold for any history."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup.manifest import Outcome
from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.backup.retention import Head, KeepReason, RetentionPlan, Rule, plan_retention
from g3zkp_maint.settings import Retention

NOW = datetime(2026, 3, 31, 3, tzinfo=UTC)  # a Tuesday
FULL, INCREMENTAL = BackupType.FULL, BackupType.INCREMENTAL


def head(days_ago: float, type: BackupType = FULL, *needs: Head, outcome: Outcome | None = Outcome.OK, **more) -> Head:
    at = (NOW - timedelta(days=days_ago)).replace(microsecond=0)
    refers_to = frozenset(other.name for other in needs)
    return Head(str(BackupName(at, type)), at, type, outcome, refers_to=refers_to, **more)


def policy(**values: float) -> Retention:
    return Retention.model_validate({"keep_within_days": 30, **values})


def kept(plan: RetentionPlan) -> dict[str, list[Rule]]:
    return {verdict.name: [reason.rule for reason in verdict.reasons] for verdict in plan.kept}


def deleted(plan: RetentionPlan) -> set[str]:
    return {verdict.name for verdict in plan.deleted}


# -- tables ------------------------------------------------------------------------------------------------------------


def test_what_is_within_its_days_stays_and_the_rest_goes() -> None:
    today, edge, past = head(0), head(30), head(30.01)
    plan = plan_retention([past, today, edge], policy(), NOW)
    assert [verdict.name for verdict in plan.kept] == [today.name, edge.name]
    assert deleted(plan) == {past.name}
    assert KeepReason(Rule.WITHIN, 2) in plan.kept[1].reasons
    assert str(plan.deleted[0]) == "past its days, and no rule keeps it"


def test_one_that_is_dated_ahead_of_the_clock_stays() -> None:
    assert deleted(plan_retention([head(-400), head(0)], policy(), NOW)) == set()


@pytest.mark.parametrize(
    ("values", "stay"),
    [
        ({}, {0}),
        ({"keep_daily": 2}, {0, 41}),
        ({"keep_daily": 3}, {0, 41, 42}),
        ({"keep_weekly": 2}, {0, 41}),
        ({"keep_weekly": 3}, {0, 41, 44}),
        ({"keep_monthly": 3}, {0, 41, 60}),
        ({"keep_yearly": 2}, {0, 100}),
        ({"keep_yearly": 99}, {0, 100, 500}),
        ({"keep_daily": 2, "keep_yearly": 2}, {0, 41, 100}),
    ],
    ids=str,
)
def test_the_newest_of_each_period_that_has_one_stays(values: dict[str, float], stay: set[int]) -> None:
    # 41 and 42 are a Wednesday and Tuesday, 44 the Sunday before; 60 is in January, 100 and 101 in December.
    history = {days: head(days) for days in (0, 41, 42, 44, 60, 100, 101, 500)}
    plan = plan_retention(history.values(), policy(**values), NOW)
    assert set(kept(plan)) == {history[days].name for days in stay}


def test_of_two_in_one_period_the_newer_one_stays() -> None:
    late, early = head(50), head(50.05)
    assert late.at.date() == early.at.date()
    plan = plan_retention([early, late, head(0)], policy(keep_daily=9), NOW)
    assert deleted(plan) == {early.name}


def test_weeks_at_the_turn_of_the_year_are_iso_weeks() -> None:
    thursday = datetime(2026, 1, 1, 2, tzinfo=UTC)  # week 1 of 2026, as is Monday 2025-12-29
    ages = [
        (NOW - at) / timedelta(days=1) for at in (thursday, thursday - timedelta(days=3), thursday - timedelta(days=4))
    ]
    first, same_week, week_before = (head(age) for age in ages)
    plan = plan_retention([head(0), first, same_week, week_before], policy(keep_weekly=3), NOW)
    assert deleted(plan) == {same_week.name}


def test_what_a_kept_one_needs_stays_and_says_for_which() -> None:
    full = head(60)
    middle = head(50, INCREMENTAL, full)
    new = head(5, INCREMENTAL, middle)  # whose own content is in the middle one; that one needs the full
    other = head(61)
    plan = plan_retention([full, middle, new, other, head(1)], policy(), NOW)
    assert deleted(plan) == {other.name}
    reasons = {verdict.name: verdict.reasons for verdict in plan.kept}
    assert reasons[middle.name] == (KeepReason(Rule.NEEDED, by=new.name),)
    assert reasons[full.name] == (KeepReason(Rule.NEEDED, by=middle.name),)
    assert str(reasons[full.name][0]) == f"needed by {middle.name}"


def test_a_needed_one_that_is_not_there_is_no_matter() -> None:
    plan = plan_retention([head(1, INCREMENTAL, head(60))], policy(), NOW)
    assert len(plan.kept) == 1


def test_the_newest_and_the_newest_full_stay_however_old() -> None:
    old, full = head(300), head(200)
    incremental, newest = head(190, INCREMENTAL), head(180, INCREMENTAL)
    plan = plan_retention([old, full, incremental, newest], policy(), NOW)
    assert kept(plan) == {newest.name: [Rule.NEWEST], full.name: [Rule.NEWEST_FULL]}


@pytest.mark.parametrize(
    "fault", [{"outcome": Outcome.PARTIAL}, {"is_whole": False}, {"run": "safety:x"}, {"outcome": None}], ids=str
)
def test_one_with_a_fault_never_stands_for_the_newest_nor_for_its_day(fault: dict[str, object]) -> None:
    sound, faulty = head(50.01), head(50, **fault)
    plan = plan_retention([faulty, sound, head(400)], policy(keep_daily=1, keep_yearly=1), NOW)
    rules = kept(plan)
    assert set(rules[sound.name]) == {Rule.NEWEST, Rule.NEWEST_FULL, Rule.DAILY, Rule.YEARLY}
    assert rules.get(faulty.name) == ([Rule.INVALID] if fault.get("outcome", 1) is None else None)


def test_a_partial_one_stays_within_its_days() -> None:
    partial = head(10, outcome=Outcome.PARTIAL)
    assert kept(plan_retention([partial, head(0)], policy(keep_daily=9), NOW))[partial.name] == [Rule.WITHIN]


@pytest.mark.parametrize(
    ("faults", "best"),
    [
        ([{"outcome": Outcome.PARTIAL}, {"outcome": Outcome.PARTIAL}], 0),
        ([{"is_whole": False}, {"outcome": Outcome.PARTIAL}], 1),
        ([{"outcome": Outcome.PARTIAL, "is_whole": False}, {"is_whole": False}], 0),
        ([{"outcome": None}, {"is_whole": False}], 1),
    ],
    ids=["the newer", "whole before not whole", "the newer of two that are not", "one that is believed"],
)
def test_where_none_is_sound_the_best_there_is_stays(faults: list[dict[str, object]], best: int) -> None:
    heads = [head(100 + number, **fault) for number, fault in enumerate(faults)]
    assert kept(plan_retention(heads, policy(), NOW))[heads[best].name] == [Rule.NEWEST, Rule.NEWEST_FULL]


def test_one_that_is_not_believed_stays_with_what_it_claims_to_need() -> None:
    full = head(90)
    unbelieved = head(80, INCREMENTAL, full, outcome=None)
    plan = plan_retention([full, unbelieved, head(1)], policy(), NOW)
    assert kept(plan)[unbelieved.name] == [Rule.INVALID]
    assert kept(plan)[full.name] == [Rule.NEEDED]


def test_what_a_run_under_way_builds_on_stays() -> None:
    parent = head(90)
    plan = plan_retention([parent, head(1)], policy(), NOW, in_use={"a-run": [parent.name, "one that is gone"]})
    assert plan.kept[1].reasons == (KeepReason(Rule.IN_USE, by="a-run"),)


def test_nothing_of_nothing() -> None:
    assert plan_retention([], policy(), NOW) == RetentionPlan((), ())


# -- any history ---------------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[Head]:
    """Up to 25 backups in three years; each may refer to any other one, also in a circle and to itself."""
    hours = draw(st.lists(st.integers(-48, 26_000), unique=True, max_size=25))
    heads = [
        head(
            hour / 24,
            draw(st.sampled_from([FULL, INCREMENTAL])),
            outcome=draw(st.sampled_from([Outcome.OK, Outcome.OK, Outcome.PARTIAL, None])),
            is_whole=draw(st.booleans()) or draw(st.booleans()),
            run=draw(st.sampled_from(["a-run", "safety:x"])),
        )
        for hour in hours
    ]
    names = st.sampled_from([one.name for one in heads]) if heads else st.nothing()
    return [replace(one, refers_to=draw(st.frozensets(names, max_size=3))) for one in heads]


policies = st.builds(
    Retention,
    keep_within_days=st.integers(1, 900),
    keep_daily=st.integers(0, 9),
    keep_weekly=st.integers(0, 9),
    keep_monthly=st.integers(0, 9),
    keep_yearly=st.integers(0, 3),
)


@given(histories(), policies)
def test_each_backup_gets_one_verdict_and_each_kept_one_a_reason(history: list[Head], rules: Retention) -> None:
    plan = plan_retention(history, rules, NOW)
    assert sorted([one.name for one in (*plan.kept, *plan.deleted)]) == sorted(one.name for one in history)
    assert all(one.reasons for one in plan.kept)
    assert not any(one.reasons for one in plan.deleted)


@given(histories(), policies)
def test_a_kept_backup_finds_all_that_it_needs(history: list[Head], rules: Retention) -> None:
    gone = deleted(plan_retention(history, rules, NOW))
    for one in history:
        if one.name not in gone:
            assert not one.refers_to & gone


@given(histories(), policies)
def test_the_newest_sound_backup_and_the_newest_sound_full_stay(history: list[Head], rules: Retention) -> None:
    gone = deleted(plan_retention(history, rules, NOW))
    for candidates in ([one for one in history if one.is_sound], [h for h in history if h.is_sound and h.type == FULL]):
        if candidates:
            assert max(candidates, key=lambda one: one.at).name not in gone
    fulls = {one.name for one in history if one.outcome is not None and one.type is FULL}
    assert not fulls or fulls - gone


@given(histories(), policies)
def test_one_that_is_not_believed_is_never_deleted(history: list[Head], rules: Retention) -> None:
    gone = deleted(plan_retention(history, rules, NOW))
    assert not {one.name for one in history if one.outcome is None} & gone


@given(histories(), policies)
def test_planning_again_on_what_is_left_deletes_nothing(history: list[Head], rules: Retention) -> None:
    gone = deleted(plan_retention(history, rules, NOW))
    left = [one for one in history if one.name not in gone]
    assert deleted(plan_retention(left, rules, NOW)) == set()


@given(histories(), policies, st.data())
def test_any_part_of_a_deletion_can_be_done_first(history: list[Head], rules: Retention, data: st.DataObject) -> None:
    """Which is what a prune that was killed leaves: the next one wants to delete just the rest."""
    gone = deleted(plan_retention(history, rules, NOW))
    done = data.draw(st.sets(st.sampled_from(sorted(gone)))) if gone else set()
    left = [one for one in history if one.name not in done]
    assert deleted(plan_retention(left, rules, NOW)) == gone - done


@given(histories(), policies, policies)
def test_a_more_generous_policy_keeps_no_less(history: list[Head], one: Retention, other: Retention) -> None:
    fields = ("keep_within_days", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
    more = Retention(**{name: max(getattr(one, name), getattr(other, name)) for name in fields})
    assert deleted(plan_retention(history, more, NOW)) <= deleted(plan_retention(history, one, NOW))


@given(histories(), policies, st.integers(0, 2000))
def test_time_alone_brings_nothing_back(history: list[Head], rules: Retention, days: int) -> None:
    later = NOW + timedelta(days=days)
    assert deleted(plan_retention(history, rules, NOW)) <= deleted(plan_retention(history, rules, later))


@given(histories(), policies, st.randoms())
def test_the_order_of_the_listing_does_not_matter(history: list[Head], rules: Retention, random) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)
    assert deleted(plan_retention(shuffled, rules, NOW)) == deleted(plan_retention(history, rules, NOW))
