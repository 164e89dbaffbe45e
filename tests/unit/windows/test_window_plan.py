"""Which windows take place: overlaps, freezes, stops, and what becomes of the settings' changes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_cases import DAY, HOUR, MINUTE, SUNDAY, WEEKLY, freeze, once, plan

from g3zkp_maint.settings import Windows
from g3zkp_maint.settings.windows import WEEKLY as WEEKLY_WINDOW
from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.plan import Occurrence, unsaved
from g3zkp_maint.windows.window import Stop, Window

KINDS = list(Kind)
SATURDAY = SUNDAY - DAY


@st.composite
def windows(draw: st.DrawFn) -> Window:
    kind, start = draw(st.sampled_from(KINDS)), SUNDAY + draw(st.integers(-4, 40)) * 10 * MINUTE
    minutes = draw(st.integers(1, 24)) * 10
    stop = None
    if draw(st.integers(0, 4)) == 0:
        how = draw(st.sampled_from(("cancelled", "closed")))
        at = start - MINUTE if how == "cancelled" else start + minutes * MINUTE / 2
        stop = Stop(at=at, how=how, why="a test", by="op")
    return once(
        kind,
        start,
        minutes,
        suffix=f"{draw(st.integers(0, 9999)):04d}",
        emergency=draw(st.integers(0, 5)) == 0,
        reason="a test",
        stop=stop,
    )


many = st.lists(windows(), max_size=8, unique_by=lambda one: one.id)
freezes = st.lists(st.integers(-1, 1).map(lambda days: freeze(SUNDAY + days * DAY)), max_size=1)
anytime = st.integers(-60, 500).map(lambda minutes: SUNDAY + minutes * MINUTE)


def _clash(one: Occurrence, other: Occurrence) -> bool:
    return one.window.start < other.window.until and other.window.start < one.window.until


@given(many, freezes, anytime)
def test_no_two_that_take_place_overlap_and_each_other_has_a_cause(
    records: list[Window], frozen: list[object], now: object
) -> None:
    settings = Windows(recurring=(), freezes=tuple(frozen))  # type: ignore[arg-type]
    found = plan(now, *records, settings=settings)  # type: ignore[arg-type]
    assert {one.window.id for one in found} == {one.id for one in records if one.end > now}  # type: ignore[operator]
    usual = [one for one in found if one.takes_place and not one.window.emergency]
    assert not any(_clash(one, other) for one in usual for other in usual if one is not other)
    for one in found:
        assert one.why
        match one.window.verdict:
            case "takes place":
                assert one.window.stop is None or one.window.stop.how == "closed"
                frozen_days = {day.first for day in settings.freezes}
                last = one.window.end - timedelta.resolution
                assert one.window.emergency or not {one.window.start.date(), last.date()} & frozen_days
            case "stopped":
                assert one.window.stop is not None
                assert one.window.stop.how == "cancelled"
            case "frozen":
                assert settings.freezes
            case "absorbed":
                # Which may be over by now.
                everything = plan(SUNDAY - 2 * DAY, *records, settings=settings)
                bigger = [other for other in everything if other.takes_place and f" {other.window.id}," in one.why]
                assert [other.window.terms.rank >= one.window.terms.rank for other in bigger] == [True]
                assert _clash(one, bigger[0])
    assert all(one.takes_place for one in found if one.window.emergency and one.window.stop is None)


@given(many, freezes, anytime)
def test_a_plan_that_was_saved_is_the_same_plan(records: list[Window], frozen: list[object], now: object) -> None:
    settings = Windows(freezes=tuple(frozen))  # type: ignore[arg-type]
    first = plan(now, *records, settings=settings)  # type: ignore[arg-type]
    saved = {one.id: one for one in (*records, *unsaved(first))}
    second = plan(now, *saved.values(), settings=settings)  # type: ignore[arg-type]
    assert [(one.window, one.why) for one in second] == [(one.window, one.why) for one in first]
    assert unsaved(second) == ()


@given(many, freezes, anytime, st.integers(1, 300))
def test_as_time_goes_by_no_verdict_changes(
    records: list[Window], frozen: list[object], now: object, later: int
) -> None:
    settings = Windows(freezes=tuple(frozen))  # type: ignore[arg-type]
    first = plan(now, *records, settings=settings)  # type: ignore[arg-type]
    second = plan(now + later * MINUTE, *records, settings=settings)  # type: ignore[arg-type,operator]
    before = {one.window.id: one.window.verdict for one in first}
    assert {one.window.id: one.window.verdict for one in second if one.window.id in before}.items() <= before.items()


def test_the_higher_type_takes_place_and_the_other_is_a_part_of_it() -> None:
    major = once(Kind.MAJOR, SUNDAY - HOUR, 120)
    found = {one.window.id: one for one in plan(SATURDAY, major, settings=Windows())}
    assert found[major.id].takes_place
    why = f"a part of the major window {major.id}, Sun 29 Nov 2026, 02:00 to 04:00 UTC"
    assert (found[WEEKLY].window.verdict, found[WEEKLY].why) == ("absorbed", why)


def test_what_only_meets_at_its_end_does_not_overlap() -> None:
    first, second = once(Kind.MINOR, SUNDAY, 30), once(Kind.MINOR, SUNDAY + 30 * MINUTE, 30)
    assert all(one.takes_place for one in plan(SATURDAY, first, second))


def test_a_major_window_that_is_closed_before_the_minor_one_gives_its_time_back() -> None:
    closed = Stop(at=SUNDAY - MINUTE, how="closed", why="done", by="op")
    major = once(Kind.MAJOR, SUNDAY - HOUR, 120, stop=closed)
    assert {one.window.id for one in plan(SUNDAY, major, settings=Windows()) if one.is_open(SUNDAY)} == {WEEKLY}


def test_an_emergency_takes_place_in_a_freeze_and_beside_others() -> None:
    emergency = once(Kind.SECURITY, SUNDAY, 30, emergency=True, reason="leak")
    frozen = plan(SATURDAY, emergency, settings=Windows(freezes=(freeze(SUNDAY),)))[:2]
    assert {one.window.id: one.window.verdict for one in frozen} == {emergency.id: "takes place", WEEKLY: "frozen"}
    beside = plan(SATURDAY, emergency, settings=Windows())[:2]
    assert all(one.takes_place for one in beside)


def test_a_freeze_includes_its_last_day_and_ends_with_it() -> None:
    frozen = Windows(freezes=(freeze(SUNDAY - 3 * DAY, 4),))
    assert [one.window.verdict for one in plan(SATURDAY, settings=frozen)[:2]] == ["frozen", "takes place"]
    over = Windows(freezes=(freeze(SUNDAY - 3 * DAY, 3),))
    assert plan(SATURDAY, settings=over)[0].takes_place


# -- what the settings change --------------------------------------------------------------------------------------------


def _saved(settings: Windows, *records: Window) -> dict[str, Window]:
    return {one.id: one for one in (*records, *unsaved(plan(SATURDAY, *records, settings=settings)))}


def _weekly(**change: object) -> Windows:
    return Windows(recurring=(WEEKLY_WINDOW.model_copy(update=change),))


@pytest.mark.parametrize("change", [{"what": "other work"}, {"kind": Kind.SECURITY}, {"impact": "none"}])
def test_a_change_in_the_settings_is_the_next_revision_of_each_window(change: dict[str, object]) -> None:
    records = _saved(Windows())
    found = plan(SATURDAY, *records.values(), settings=_weekly(**change))
    assert {one.window.revision for one in found} == {1}
    assert {one.window.id for one in found} == records.keys()


def test_a_window_that_the_settings_name_no_more_is_withdrawn_and_comes_back_with_them() -> None:
    records = _saved(Windows())
    gone = _saved(Windows(recurring=()), *records.values())
    assert {(one.revision, one.verdict, one.stop.how) for one in gone.values() if one.stop} == {
        (1, "stopped", "withdrawn")
    }
    back = plan(SATURDAY, *gone.values(), settings=Windows())
    assert {(one.window.revision, one.takes_place) for one in back} == {(2, True)}


def test_a_freeze_raises_the_revision_and_so_does_its_end() -> None:
    frozen = Windows(freezes=(freeze(SUNDAY),))
    records = _saved(frozen, *_saved(Windows()).values())
    assert (records[WEEKLY].revision, records[WEEKLY].verdict) == (1, "frozen")
    thawed = plan(SATURDAY, *records.values(), settings=Windows())[0].window
    assert (thawed.id, thawed.revision, thawed.verdict) == (WEEKLY, 2, "takes place")


def test_what_an_operator_has_cancelled_no_setting_brings_back() -> None:
    records = _saved(Windows())
    stop = Stop(at=SATURDAY, how="cancelled", why="not this week", by="op")
    cancelled = records[WEEKLY].replaced(SATURDAY, stop=stop, verdict="stopped")
    found = plan(SATURDAY, *{**records, WEEKLY: cancelled}.values(), settings=_weekly(what="other work"))[0]
    assert (found.window.id, found.window.revision, found.takes_place) == (WEEKLY, 1, False)
