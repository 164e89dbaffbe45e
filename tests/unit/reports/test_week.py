from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.errors import BadInput
from g3zkp_maint.reports.week import Week

moments = st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments)
def test_each_moment_is_in_its_week_and_in_no_other(moment: datetime) -> None:
    week = Week.of(moment)
    assert moment in week
    assert moment not in week.back(1)
    assert week.start.isoweekday() == 1
    assert week.end - week.start == timedelta(days=7)
    assert Week.parse(str(week)) == week


@given(moments, st.integers(0, 200))
def test_weeks_follow_one_another_without_a_gap(moment: datetime, count: int) -> None:
    week = Week.of(moment)
    assert week.back(count).start == week.start - timedelta(days=7 * count)
    assert week.back(1).end == week.start
    assert week.back(1) < week


@pytest.mark.parametrize("text", ["2026-W54", "2025-W53", "2026-W00", "2026-47", "0000-W01", "last", "2026-W47x"])
def test_what_is_no_week_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="write it as 2026-W47"):
        Week.parse(text)
