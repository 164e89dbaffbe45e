from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.reports.scale import BYTES, COUNT, SECONDS, Unit, ticks

values = st.floats(0, 1e12, allow_nan=False)


@given(values, st.sampled_from([COUNT, BYTES, SECONDS]))
def test_an_axis_reaches_the_highest_figure_with_few_even_steps_from_nought(highest: float, unit: Unit) -> None:
    steps = ticks(highest, unit)
    assert steps[0] == 0
    assert steps[-1] >= highest
    assert 2 <= len(steps) <= 5 or highest > unit.steps[-1]
    assert len({unit.tick(step) for step in steps}) == len(steps)
    if unit is BYTES or (unit is SECONDS and highest < 1e8):
        assert max(len(unit.tick(step)) for step in steps) <= 8, "there is room for no more beside a chart"


@pytest.mark.parametrize(
    ("highest", "unit", "shown"),
    [
        (30, COUNT, ["0", "10", "20", "30"]),
        (2.5 * 1024**3, BYTES, ["0 B", "1 GiB", "2 GiB", "3 GiB"]),
        (1.8 * 1024**3, BYTES, ["0 B", "512 MiB", "1 GiB", "1.5 GiB", "2 GiB"]),
        (2400, SECONDS, ["0s", "10m", "20m", "30m", "40m"]),
        (7000, SECONDS, ["0s", "30m", "1h", "1h30m", "2h"]),
        (0.3, SECONDS, ["0s", "0.1s", "0.2s", "0.3s"]),
    ],
)
def test_its_steps_are_those_that_people_count_in(highest: float, unit: Unit, shown: list[str]) -> None:
    assert [unit.tick(step) for step in ticks(highest, unit)] == shown
