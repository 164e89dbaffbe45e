"""Silences: whatever Alertmanager has, one step leads to one silence for each window that is open or about to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from window_cases import DAY, HOUR, MINUTE, SUNDAY, once, plan

from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.silence import AHEAD, Silence, plan_silences
from g3zkp_maint.windows.window import Stop, Window

WINDOWS = [once(Kind.MAJOR, SUNDAY + hours * HOUR, 90, suffix=f"000{hours}") for hours in (0, 2, 4)]
names = st.sampled_from([*(one.id for one in WINDOWS), "gone-20250101T0300"])
minutes = st.integers(-200, 500).map(lambda count: SUNDAY + count * MINUTE)


@st.composite
def silences(draw: st.DrawFn) -> Silence:
    start = draw(minutes)
    return Silence(f"id-{draw(st.integers(0, 99))}", draw(names), start, start + draw(st.integers(1, 300)) * MINUTE)


@given(
    st.lists(silences(), max_size=6, unique_by=lambda one: one.id),
    minutes,
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_one_step_leads_to_just_the_silences_that_are_wanted(
    existing: list[Silence], now: datetime, stopped: list[bool]
) -> None:
    # Alertmanager drops what is over by itself.
    existing = [
        replace(one, start=min(one.start, now)) if one.start < now else one for one in existing if one.end > now
    ]
    stop = Stop(at=now, how="closed", why="done", by="op")
    records = [
        one.model_copy(update={"stop": stop if ends else None}) for one, ends in zip(WINDOWS, stopped, strict=True)
    ]
    found = plan(now, *records)
    step = plan_silences(found, existing, now)
    kept = {one.id: one for one in existing if one not in step.lifts}
    after = {**kept, **{one.id or f"new-{one.window}": one for one in step.puts}}
    wanted: set[tuple[str, datetime]] = {
        (one.id, one.end) for one in records if one.start - AHEAD <= now < one.until and one.end > now
    }
    assert {(one.window, one.end) for one in after.values()} == wanted
    assert len(after) == len(wanted)
    starts: dict[str, Window] = {one.id: one for one in records}
    assert all(one.start <= max(now, starts[one.window].start) for one in after.values())
    again = plan_silences(found, list(after.values()), now)
    assert (again.puts, again.lifts) == ((), ())


def test_a_silence_that_has_begun_and_ends_with_its_window_is_left_alone() -> None:
    (window, *_) = WINDOWS
    found = Silence("id-1", window.id, SUNDAY + MINUTE, window.end)
    step = plan_silences(plan(SUNDAY + HOUR, window), (found,), SUNDAY + HOUR)
    assert (step.puts, step.lifts) == ((), ())


def test_a_silence_is_made_an_hour_ahead_to_begin_with_its_window() -> None:
    (window, *_) = WINDOWS
    (made,) = plan_silences(plan(SUNDAY - HOUR, window), (), SUNDAY - HOUR).puts
    assert (made.start, made.end, made.comment) == (window.start, window.end, f"maintenance window {window.id}")
    assert plan_silences(plan(SUNDAY - DAY, window), (), SUNDAY - DAY).puts == ()
