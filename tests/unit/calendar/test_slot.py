from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.calendar.slot import format_slot, parse_slot
from g3zkp_maint.errors import BadInput


def test_a_slot_is_written_to_the_minute_and_to_the_second_where_asked_for() -> None:
    assert format_slot(datetime(2026, 11, 25, 2, tzinfo=UTC)) == "2026-11-25T02:00Z"
    assert format_slot(datetime(2026, 11, 25, 2, tzinfo=UTC), seconds=True) == "2026-11-25T02:00:00Z"
    assert format_slot(datetime(2026, 11, 25, 2, 0, 4, tzinfo=UTC)) == "2026-11-25T02:00:04Z"


@given(
    st.datetimes(datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2100-01-01"), timezones=st.just(UTC)),
    st.booleans(),
)
def test_a_slot_read_back_is_the_same_moment(moment: datetime, seconds: bool) -> None:
    slot = moment.replace(microsecond=0)
    assert parse_slot(format_slot(slot, seconds=seconds)) == slot


@given(st.text(max_size=24))
def test_any_text_is_a_slot_or_bad_input(text: str) -> None:
    try:
        slot = parse_slot(text)
    except BadInput:
        return
    assert format_slot(slot, seconds=len(text) == 20) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-25",
        "2026-11-25T02:00",
        "2026-11-25T02:00+00:00",
        "2026-11-25 02:00Z",
        "2026-13-01T02:00Z",
        "2026-02-29T02:00Z",
        "2026-11-25T24:00Z",
        "2026-11-25T02:00:60Z",
        "2026-11-25T02:00Z\n",
        "٢٠٢٦-11-25T02:00Z",
        "full",
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="slot"):
        parse_slot(text)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 25, 2),  # noqa: DTZ001 - naive on purpose
        datetime(2026, 11, 25, 2, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 11, 25, 2, microsecond=1, tzinfo=UTC),
    ],
    ids=["naive", "other zone", "too fine"],
)
def test_a_moment_that_is_no_slot_is_not_written(moment: datetime) -> None:
    with pytest.raises(BadInput):
        format_slot(moment)
