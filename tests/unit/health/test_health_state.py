from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.health.check import EndpointReport, HealthReport
from g3zkp_maint.health.instances import InstanceReport, WholeReport
from g3zkp_maint.health.state import HealthState, Level, advance, due, judge, told
from g3zkp_maint.notices import Severity
from g3zkp_maint.settings import Health

START = datetime(2026, 3, 2, 3, tzinfo=UTC)
FIVE = timedelta(minutes=5)
H, G, D = Level.HEALTHY, Level.DEGRADED, Level.DOWN
SETTINGS = Health()


def walked(*looks: Level, settings: Health = SETTINGS) -> list[HealthState]:
    states = [HealthState.unknown(START)]
    for number, level in enumerate(looks, start=1):
        states.append(advance(states[-1], level, ("why",) * level, at=START + number * FIVE, settings=settings))
    return states


def levels(*looks: Level, settings: Health = SETTINGS) -> list[Level]:
    return [state.level for state in walked(*looks, settings=settings)[1:]]


@pytest.mark.parametrize(
    ("looks", "states"),
    [
        ([D], [D]),  # an outage shows within five minutes
        ([G, H, G, H], [H, H, H, H]),
        ([G, G], [H, G]),
        ([D, H], [D, D]),
        ([D, H, H], [D, D, H]),
        ([D, H, D, H, D, H], [D] * 6),  # no flapping
        ([D, G, G], [D, D, G]),
        ([D, G, H], [D, D, G]),  # two that were better than down, one alone that was well
        ([D, G, H, H], [D, D, G, H]),
        ([G, D], [H, D]),
        ([G, G, H, G, H, H], [H, G, G, G, G, H]),
    ],
)
def test_looks_in_a_row_make_a_state(looks: list[Level], states: list[Level]) -> None:
    assert levels(*looks) == states


PATIENT = Health(down_checks=3, degraded_checks=4, recover_checks=5)


@given(st.lists(st.sampled_from(list(Level)), max_size=40))
def test_a_state_changes_only_by_as_many_looks_in_a_row_as_are_asked_for(looks: list[Level]) -> None:
    states = walked(*looks, settings=PATIENT)
    for number, (before, after) in enumerate(pairwise(states), start=1):
        if after.level is before.level:
            assert after.since == before.since
            continue
        assert after.since == after.at
        needed = {D: 3, G: 4}[after.level] if after.level > before.level else 5
        last = looks[number - needed : number]
        assert len(last) == needed
        if after.level > before.level:
            assert min(last) >= after.level
        else:
            assert max(last) <= after.level


@given(st.lists(st.sampled_from(list(Level)), max_size=20), st.sampled_from(list(Level)))
def test_whatever_was_before_looks_that_agree_for_long_enough_decide(looks: list[Level], level: Level) -> None:
    assert levels(*looks, *[level] * 5, settings=PATIENT)[-1] is level


def test_an_older_look_changes_nothing() -> None:
    state = walked(H, H)[-1]
    assert advance(state, D, (), at=START, settings=SETTINGS) == state


def test_a_state_is_the_same_after_it_was_kept() -> None:
    state = told(walked(D)[-1])
    assert HealthState.model_validate(state.model_dump(mode="json")) == state
    assert state.model_dump(mode="json")["level"] == "down"


# -- notices ---------------------------------------------------------------------------------------------------------------


def notices(*looks: Level, quiet: range = range(0), settings: Health = SETTINGS) -> list[str]:
    """The titles, with everything told that is due, but for the looks of these numbers."""
    state, titles = HealthState.unknown(START), []
    for number, level in enumerate(looks, start=1):
        state = advance(state, level, (), at=START + number * FIVE, settings=settings)
        notice = due(state, settings)
        if notice is not None and number not in quiet:
            titles.append(notice.title)
            state = told(state)
    return titles


def test_one_notice_per_change() -> None:
    assert notices(H, D, D, D, H, H, H, G, G, H, H) == [
        "The messenger is down",
        "The messenger is well again",
        "The messenger is degraded",
        "The messenger is well again",
    ]


def test_what_lasts_is_told_again_after_each_four_hours() -> None:
    hours = 12
    assert notices(*[D] * (1 + hours * 9)) == [
        "The messenger is down",
        "The messenger is still down, for 4 h 0 min",
        "The messenger is still down, for 8 h 0 min",
    ]
    assert notices(*[D] * 200, settings=Health(remind_hours=None)) == ["The messenger is down"]


def test_an_outage_within_a_window_is_not_told_and_neither_is_its_end() -> None:
    assert notices(D, D, H, H, H, quiet=range(1, 4)) == []


def test_an_outage_that_outlasts_a_window_is_told_after_it() -> None:
    assert notices(D, D, D, D, quiet=range(1, 4)) == ["The messenger is down"]


def test_reminders_missed_in_a_window_come_as_one() -> None:
    looks = [D] * (12 * 13)
    titles = notices(*looks, quiet=range(3, 12 * 12 + 3))
    assert titles == ["The messenger is down", "The messenger is still down, for 12 h 10 min"]


def test_a_notice_that_was_not_told_is_due_again_under_the_same_key() -> None:
    states = walked(D, D, D)[1:]
    keys = {due(state, SETTINGS).key for state in states}  # type: ignore[union-attr]
    assert len(keys) == 1


def test_a_notice_says_how_bad_it_is_since_when_and_why() -> None:
    notice = due(walked(H, D)[-1], SETTINGS)
    assert notice is not None
    assert notice.severity is Severity.FAILURE
    assert notice.body.splitlines()[0].startswith("Since 2026-03-02 03:10:00 UTC; it was healthy")
    assert notice.body.splitlines()[1:] == ["why", "why"]


# -- what a look has found -----------------------------------------------------------------------------------------------------


def report(*, ready: int = 2, seconds: float = 0.01, **problems: str) -> WholeReport:
    def asked(url: str) -> HealthReport:
        paths = ("health", "ready", "metrics")
        return HealthReport(url, tuple(EndpointReport(f"/{p}", problems.get(p), 200, seconds, 1) for p in paths))

    well = HealthReport("http://pod", (EndpointReport("/health", None, 200, 0.01, 1),))
    return WholeReport(2, asked("http://m"), tuple(InstanceReport(f"m-{n}", True, well) for n in range(ready)))


def pods(*instances: InstanceReport) -> WholeReport:
    """All that there should be."""
    return WholeReport(len(instances), report().service, instances)


@pytest.mark.parametrize(
    ("found", "level", "why"),
    [
        (report(), H, ""),
        (report(health="no answer"), D, "/health: no answer"),
        (report(metrics="holds no g3zkp_"), G, "/metrics: holds no g3zkp_"),
        (report(ready=1), G, "1 instances are there, 2 should be"),
        (pods(InstanceReport("m-0", True, None)), G, "m-0 it has no address"),
        (pods(InstanceReport("m-0", True, None, is_to_be_asked=False)), H, ""),
        (pods(InstanceReport("m-0", False, None, is_to_be_asked=False)), G, "m-0 is not ready"),
        (report(seconds=2.5), G, "answered after 2.5 s"),
        (report(seconds=2.5, health="no answer"), D, "/health: no answer"),
    ],
)
def test_what_a_look_has_found(found: WholeReport, level: Level, why: str) -> None:
    judged, problems = judge(found, SETTINGS)
    assert judged is level
    assert why in "; ".join(problems)
    assert bool(problems) == (level is not H)


def test_a_messenger_that_is_not_ready_is_down() -> None:
    endpoints = (EndpointReport("/health", None, 200, 0.01, 1), EndpointReport("/ready", "answered 503", 503, 0.01, 3))
    judged, _ = judge(WholeReport(1, HealthReport("http://m", endpoints), ()), SETTINGS)
    assert judged is D
