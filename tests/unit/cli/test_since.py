from __future__ import annotations

from datetime import UTC, datetime

import pytest

from g3zkp_maint.cli.since import moment
from g3zkp_maint.errors import BadInput

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", datetime(2026, 11, 25, 11, 30, tzinfo=UTC)),
        ("24h", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2w", datetime(2026, 11, 11, 12, tzinfo=UTC)),
        ("2026-11-25", datetime(2026, 11, 25, tzinfo=UTC)),
        ("2026-11-25T02:00", datetime(2026, 11, 25, 2, tzinfo=UTC)),
        ("2026-11-25T02:00+02:00", datetime(2026, 11, 25, 0, tzinfo=UTC)),
    ],
)
def test_times_as_people_type_them(text: str, expected: datetime) -> None:
    assert moment(text, now=NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "24", "-1h", "999999w", "2026-13-01", "h24"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadInput, match="is no time; write 24h"):
        moment(text, now=NOW)
