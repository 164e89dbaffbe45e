"""Names of backups."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.errors import BadInput

SECONDS = st.integers(0, 8_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))


@given(SECONDS, st.sampled_from(BackupType))
def test_a_name_is_read_back_as_it_was_written(at: datetime, type: BackupType) -> None:
    assert BackupName.parse(str(BackupName(at, type))) == BackupName(at, type)


def test_a_name_looks_as_operators_know_it() -> None:
    name = BackupName(datetime(2026, 1, 31, 2, 0, 5, tzinfo=UTC), BackupType.INCREMENTAL)
    assert str(name) == "g3zkp_incremental_20260131_020005"
    assert name.folder == "2026/01/g3zkp_incremental_20260131_020005"


@given(SECONDS, SECONDS)
def test_names_sort_by_time(one: datetime, other: datetime) -> None:
    names = sorted([BackupName(one, BackupType.FULL), BackupName(other, BackupType.INCREMENTAL)])
    assert [name.at for name in names] == sorted([one, other])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "g3zkp_full_20260131",
        "g3zkp_weekly_20260131_020000",
        "g3zkp_full_20261331_020000",
        "g3zkp_full_20260131_020000\n",
        "../g3zkp_full_20260131_020000",
        "g3zkp_full_20260131_020000/..",
        "G3ZKP_full_20260131_020000",
    ],
)
def test_what_is_no_name_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="is no backup name"):
        BackupName.parse(text)


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput, match="use 'full' or 'incremental'"):
        BackupType.parse("differential")
