"""What old archives open with after the recipients have changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from g3zkp_maint.backup.manifest import Archive, Manifest, Outcome
from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.backup.recipients import Standing, report
from g3zkp_maint.settings import Retention

NOW = datetime(2026, 6, 3, 12, tzinfo=UTC)  # a Wednesday
OLD, NEW, OTHER = "age1old", "age1new", "age1other"
POLICY = Retention()


def backup(days_ago: float, recipients: Sequence[str], *, on: Sequence[Manifest] = ()) -> Manifest:
    kind = BackupType.INCREMENTAL if on else BackupType.FULL
    name = str(BackupName(NOW - timedelta(days=days_ago), kind))
    holders = [*(one.name for one in on), name]
    archives = [
        Archive(
            id=number,
            backup=holder,
            component="ipfs",
            key=f"{holder}/ipfs.tar.zst.age",
            size=1,
            sha256="0" * 64,
            plain_size=1,
            entries=1,
        )
        for number, holder in enumerate(holders)
    ]
    return Manifest(
        product="1",
        name=name,
        type=kind,
        outcome=Outcome.OK,
        run=f"run-{days_ago}",
        parent=on[-1].name if on else None,
        previous=None,
        planned_at=NOW,
        sealed_at=NOW,
        components=(),
        archives=tuple(archives),
        recipients=tuple(recipients),
    )


def standing(manifests: Sequence[Manifest], current: Sequence[str], of: str, policy: Retention = POLICY) -> Standing:
    (found,) = (one for one in report(manifests, current, policy, NOW).standings if one.recipient == of)
    return found


def test_with_nothing_changed_every_backup_opens_with_the_current_recipient() -> None:
    full = backup(1, [OLD])
    found = report([full, backup(0, [OLD], on=[full])], [OLD], POLICY, NOW)
    assert found.newest_is_current
    assert [one.former for one in found.openings] == [frozenset(), frozenset()]
    assert [one.recipient for one in found.standings] == [OLD]


def test_an_added_recipient_opens_no_incremental_on_top_of_a_full_one_that_was_not_made_for_it() -> None:
    full = backup(1, [OLD])
    newest = backup(0, [OLD, NEW], on=[full])
    found = report([full, newest], [OLD, NEW], POLICY, NOW)
    assert found.openings[0].opens_all == {OLD}
    assert found.openings[0].opens_some == {NEW}
    assert found.openings[0].missing == {NEW}
    assert not found.newest_is_current
    assert standing([full, newest], [OLD, NEW], NEW).partly == (newest.name,)


def test_an_exchanged_recipient_leaves_an_incremental_that_nobody_opens_alone() -> None:
    full = backup(1, [OLD])
    newest = backup(0, [NEW], on=[full])
    opening = report([full, newest], [NEW], POLICY, NOW).openings[0]
    assert opening.opens_all == frozenset()
    assert opening.opens_some == {OLD, NEW}
    assert standing([full, newest], [NEW], OLD).lost_without == (newest.name, full.name)
    assert standing([full, newest], [NEW], NEW).lost_without == (newest.name,)


def test_a_full_backup_for_the_new_recipient_mends_it() -> None:
    manifests = [backup(3, [OLD]), backup(1, [NEW])]
    found = report(manifests, [NEW], POLICY, NOW)
    assert found.newest_is_current
    assert standing(manifests, [NEW], NEW).whole == (manifests[1].name,)


def test_nothing_is_lost_with_one_of_two_recipients() -> None:
    manifests = [backup(1, [OLD, OTHER])]
    for one in (OLD, OTHER):
        assert standing(manifests, [OLD, OTHER], one).lost_without == ()
        assert standing(manifests, [OLD, OTHER], one).whole == (manifests[0].name,)


def test_a_backup_that_needs_one_whose_manifest_is_gone_is_opened_whole_by_nobody_known() -> None:
    gone = backup(1, [OLD])
    opening = report([backup(0, [OLD], on=[gone])], [OLD], POLICY, NOW).openings[0]
    assert opening.opens_all == frozenset()
    assert opening.groups[gone.name] is None
    assert opening.missing == {OLD}


def test_an_old_identity_is_needed_until_retention_has_taken_the_last_backup_for_it() -> None:
    full = backup(20, [OLD])
    last = backup(10, [OLD], on=[full])
    found = standing([full, last], [NEW], OLD)
    # `last` is past its 30 days in 20 days' time, is found by that day's or the next run, and goes 12 hours later.
    assert found.kept_until is not None
    assert timedelta(days=20.5) <= found.kept_until - NOW <= timedelta(days=22)
    assert not found.is_kept_on


def test_a_new_incremental_on_an_old_full_one_needs_the_old_identity_for_as_long() -> None:
    full = backup(29, [OLD])
    last = backup(0, [OLD, NEW], on=[full])
    found = standing([full, last], [NEW], OLD)
    assert set(found.lost_without) == {full.name, last.name}
    assert found.kept_until is not None
    assert found.kept_until - NOW >= timedelta(days=30.5)


@pytest.mark.parametrize(("weekly", "weeks"), [(8, 8), (20, 20)])
def test_longer_retention_keeps_the_old_identity_needed(weekly: int, weeks: int) -> None:
    policy = Retention(keep_within_days=7, keep_weekly=weekly)
    found = standing([backup(4, [OLD])], [NEW], OLD, policy)
    assert found.kept_until is not None
    assert timedelta(weeks=weeks - 2) <= found.kept_until - NOW <= timedelta(weeks=weeks + 1)


def test_what_is_kept_for_decades_is_said_to_be_kept_on() -> None:
    last_of_its_year = backup(155, [OLD])
    found = standing([last_of_its_year], [NEW], OLD, Retention(keep_yearly=50))
    assert found.is_kept_on
    assert found.kept_until is None


def test_of_a_current_recipient_no_end_is_told() -> None:
    found = standing([backup(1, [OLD])], [OLD], OLD)
    assert (found.kept_until, found.is_kept_on) == (None, False)


def test_an_empty_store_has_nothing_to_tell() -> None:
    found = report([], [NEW], POLICY, NOW)
    assert found.openings == ()
    assert [one.recipient for one in found.standings] == [NEW]
