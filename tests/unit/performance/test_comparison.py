"""When a figure counts as worse: by much, and by more than its history scatters."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.lack import Lack
from g3zkp_maint.performance.comparison import Limits, compare, findings
from g3zkp_maint.performance.figure import Figure, Measurement, Unit

AT = datetime(2026, 3, 1, 4, tzinfo=UTC)
LIMITS = Limits(share=0.1, runs=12, least=4)


def measurement(value: float, unit: Unit = Unit.SECONDS, *, name: str = "health.p95", week: int = 0) -> Measurement:
    return Measurement(AT + timedelta(weeks=week), (Figure(name, value, unit),))


def judged(history: list[float], now: float, unit: Unit = Unit.SECONDS) -> list[str]:
    runs = [measurement(value, unit, week=week) for week, value in enumerate(history)]
    found = findings(compare(runs, measurement(now, unit), LIMITS), LIMITS)
    return [one.evidence for one in found]


STEADY = [0.0100, 0.0102, 0.0099, 0.0101, 0.0100]


def test_a_latency_that_grew_by_half_is_worse() -> None:
    (evidence,) = judged(STEADY, 0.015)
    assert evidence == "15.00 ms, 50% worse than the median of 5 earlier runs (10.00 ms)"


def test_a_rate_that_fell_is_worse_and_one_that_rose_is_not() -> None:
    rates = [1000.0, 990.0, 1010.0, 1005.0]
    assert judged(rates, 700.0, Unit.PER_SECOND)
    assert judged(rates, 1500.0, Unit.PER_SECOND) == []


def test_what_is_worse_by_less_than_the_share_is_none_however_steady_it_was() -> None:
    assert judged([0.01] * 8, 0.0109) == []


def test_what_scatters_anyway_is_not_worse_for_one_bad_run() -> None:
    assert judged([0.010, 0.014, 0.008, 0.013, 0.009, 0.015], 0.0145) == []


def test_one_bad_week_before_hides_no_decay() -> None:
    assert judged([*STEADY, 0.5], 0.015)


def test_too_few_runs_prove_nothing() -> None:
    assert judged([0.01] * 3, 1.0) == []


def test_only_the_newest_runs_count() -> None:
    assert judged([1.0] * 20 + [0.01] * 12, 0.02)


def test_a_figure_that_is_new_or_was_not_measured_is_not_compared() -> None:
    runs = [measurement(0.01, name="ready.p95", week=week) for week in range(6)]
    assert compare(runs, measurement(5.0), LIMITS) == ()


def test_a_messenger_that_only_scatters_is_seldom_called_worse() -> None:
    draw = random.Random(1)
    for runs in (4, 6, 12):
        called = sum(
            bool(judged([max(0.1, draw.gauss(1, 0.1)) for _ in range(runs)], draw.gauss(1, 0.1))) for _ in range(2000)
        )
        assert called / 2000 < 0.012, runs


@given(history=st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=30), better=st.floats(0, 1))
def test_what_is_no_worse_than_the_median_is_never_a_finding(history: list[float], better: float) -> None:
    median = sorted(history[-12:])[len(history[-12:]) // 2 - (len(history[-12:]) % 2 == 0)]
    assert judged(history, max(median * (1 - better), 1e-9)) == []


def test_a_measurement_comes_back_as_it_was_kept() -> None:
    whole = Measurement(
        AT, (Figure("a", 1.5, Unit.SECONDS), Figure("b", 2e9, Unit.BYTES_PER_SECOND)), (Lack("c", "no"),)
    )
    assert Measurement.of(whole.as_dict()) == whole
