"""Which backup is meant by `latest`, a time, or a restore."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from g3zkp_maint.backup.choose import choose, find_safety
from g3zkp_maint.backup.manifest import Manifest, Outcome
from g3zkp_maint.errors import ManifestInvalid, UnknownBackup

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def made(hour: int, *, outcome: Outcome = Outcome.OK, run: str = "r", late_hours: int = 0) -> Manifest:
    at = NOON + timedelta(hours=hour)
    return Manifest(
        product="1",
        name=f"g3zkp_full_{at:%Y%m%d_%H%M%S}",
        type="full",  # type: ignore[arg-type]
        outcome=outcome,
        run=run,
        parent=None,
        previous=None,
        planned_at=at + timedelta(hours=late_hours),
        sealed_at=at + timedelta(hours=late_hours),
        components=(),
        archives=(),
        recipients=(),
    )


def test_the_latest_is_the_newest_that_is_ok() -> None:
    found = [made(3, outcome=Outcome.PARTIAL), ManifestInvalid("changed"), made(2), made(1)]
    assert choose(found) == made(2)


def test_a_time_has_the_newest_at_or_before_it() -> None:
    found = [made(3), made(2), made(1)]
    assert choose(found, at=NOON + timedelta(hours=2)) == made(2)
    assert choose(found, at=NOON + timedelta(hours=2, minutes=-1)) == made(1)


def test_a_late_run_counts_by_when_it_looked_not_by_the_slot_in_its_name() -> None:
    late, before = made(2, late_hours=6), made(1)
    assert choose([late, before], at=NOON + timedelta(hours=3)) == before
    assert choose([made(4), late], at=NOON + timedelta(hours=8)) == late


def test_a_safety_backup_is_never_the_latest() -> None:
    assert choose([made(2, run="safety:r1"), made(1)]) == made(1)


def test_no_backup_of_that_time_is_an_error_that_says_so() -> None:
    with pytest.raises(UnknownBackup, match="of 2026-01-01 12:00:00Z or before"):
        choose([made(1)], at=NOON)


def test_the_safety_backup_of_a_restore_is_found_by_its_run() -> None:
    found = [made(3, run="safety:r2"), ManifestInvalid("x"), made(2, run="safety:r1"), made(1, run="r1")]
    assert find_safety(found, "r1") == made(2, run="safety:r1")
    with pytest.raises(UnknownBackup, match="no safety backup of a restore 'r3'"):
        find_safety(found, "r3")
