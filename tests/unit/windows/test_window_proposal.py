"""What an operator plans and closes, and what is refused with what to do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_cases import DAY, HOUR, MINUTE, SUNDAY, WEEKLY, freeze, once, plan

from g3zkp_maint.errors import BadInput
from g3zkp_maint.settings import Windows
from g3zkp_maint.windows.kind import TERMS, Kind
from g3zkp_maint.windows.plan import plan_windows
from g3zkp_maint.windows.proposal import Proposal, kind_of, propose, stopped
from g3zkp_maint.windows.window import Window

NOW = SUNDAY - 20 * DAY
DEFAULT = Windows()


def proposed(kind: Kind = Kind.MAJOR, start: datetime = SUNDAY + DAY, minutes: float = 90, **more: Any) -> Window:
    settings = more.pop("settings", DEFAULT)
    records = more.pop("records", ())
    wish = Proposal(kind, start, start + minutes * MINUTE, "op", **more)
    return propose(wish, plan(NOW, *records, settings=settings), settings.freezes, NOW, suffix="00ff")


def test_a_window_is_planned_in_the_words_of_its_type_or_in_others() -> None:
    found = proposed()
    assert (found.id, found.what, found.revision) == ("major-20261130T0300-00ff", "major updates", 0)
    assert proposed(what="a new version").what == "a new version"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"minutes": -10}, "would end .* before it begins"),
        ({"minutes": 0}, "before it begins"),
        ({"start": NOW - HOUR}, "is in the past"),
        ({"start": NOW + timedelta(days=70)}, "further ahead than 61 days"),
        ({"start": SUNDAY + DAY + timedelta(seconds=1)}, "whole minutes"),
        ({"minutes": 121}, "a major window lasts 1 h to 2 h, not 2 h 1 min"),
        ({"minutes": 59}, "a major window lasts 1 h to 2 h"),
        ({"kind": Kind.MINOR, "minutes": 20}, "a minor window lasts 30 min, not 20 min"),
        ({"start": NOW + 6 * DAY}, "told 7 days ahead: it can begin Mon 16 Nov 2026, 03:00 UTC or later"),
        ({"settings": Windows(freezes=(freeze(SUNDAY + DAY),))}, "year's end"),
        ({"records": (once(Kind.MAJOR, SUNDAY + DAY + HOUR, 60),)}, "would overlap the major window"),
        ({"records": (once(Kind.INFRASTRUCTURE, SUNDAY + DAY + HOUR, 120),)}, "would overlap the infrastructure"),
        ({"kind": Kind.SECURITY, "start": SUNDAY, "minutes": 30}, f"would overlap the minor window {WEEKLY}"),
        ({"emergency": True}, "needs a reason"),
        ({"emergency": True, "reason": " "}, "needs a reason"),
        ({"emergency": True, "reason": "x", "minutes": 1441}, "longer than a day"),
        ({"what": "two\nlines"}, "one line"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        proposed(**changes)


@pytest.mark.parametrize("kind", Kind)
def test_a_window_may_begin_just_when_its_notice_is_over(kind: Kind) -> None:
    start, minutes = NOW + TERMS[kind].notice, TERMS[kind].longest / MINUTE
    assert proposed(kind, start, minutes, settings=Windows(recurring=())).start == start
    with pytest.raises(BadInput, match="it can begin"):
        proposed(kind, start - MINUTE, minutes, settings=Windows(recurring=()))


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput, match="there are security, minor, major, infrastructure"):
        kind_of("tiny")


def test_an_emergency_with_a_reason_needs_no_notice_and_no_free_time() -> None:
    frozen = Windows(freezes=(freeze(NOW),))
    found = proposed(Kind.SECURITY, NOW, 5, emergency=True, reason="leak", settings=frozen)
    assert found.id.startswith("emergency-security-")
    assert (found.emergency, found.reason, found.verdict) == (True, "leak", "takes place")


@given(st.sampled_from(list(Kind)), st.integers(0, 61 * 1440), st.integers(1, 300))
def test_what_is_accepted_takes_place_and_was_told_in_time(kind: Kind, ahead: int, minutes: int) -> None:
    try:
        found = proposed(kind, NOW + ahead * MINUTE, minutes)
    except BadInput:
        return
    assert found.start - NOW >= TERMS[kind].notice
    assert TERMS[kind].shortest <= found.length <= TERMS[kind].longest
    assert next(one for one in plan_windows(DEFAULT, {found.id: found}, NOW) if one.window.id == found.id).takes_place


def close(id: str, now: datetime, *records: Window, why: str = "not needed") -> Window:
    return stopped(id, plan(now, *records, settings=DEFAULT), now, why=why, by="op")


@pytest.mark.parametrize(("after", "how", "until"), [(-5, "cancelled", 0), (0, "closed", 0), (10, "closed", 10)])
def test_a_window_is_cancelled_before_it_begins_and_closed_while_it_is_open(after: int, how: str, until: int) -> None:
    window = close(WEEKLY, SUNDAY + after * MINUTE)
    assert window.stop is not None
    assert (window.stop.how, window.until, window.revision) == (how, SUNDAY + until * MINUTE, 1)
    assert plan(SUNDAY - DAY, window, settings=DEFAULT)[0].window == window


def test_closing_is_refused_for_what_is_not_there_or_stopped_and_without_a_reason() -> None:
    with pytest.raises(BadInput, match="no window 'weekly-20261128T0300' is planned"):
        close("weekly-20261128T0300", NOW)
    with pytest.raises(BadInput, match="needs --reason"):
        close(WEEKLY, NOW, why=" ")
    with pytest.raises(BadInput, match="was cancelled already"):
        close(WEEKLY, NOW, close(WEEKLY, NOW))
    with pytest.raises(BadInput, match="no window"):
        close(WEEKLY, SUNDAY + 30 * MINUTE)
