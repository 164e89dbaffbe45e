"""What is due and why, from the Secret alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from g3zkp_maint.errors import BadInput, RotationFailed
from g3zkp_maint.platforms.base import MESSENGER, SecretData
from g3zkp_maint.rotation.entries import RECORD
from g3zkp_maint.rotation.plan import RotationPlan, checked_types, plan_rotation
from g3zkp_maint.rotation.record import read_record
from g3zkp_maint.rotation.site import all_standings
from g3zkp_maint.settings import Rotation

NOW = datetime(2026, 11, 25, 3, tzinfo=UTC)
HOUR = 3600
ALL = checked_types(())


def key(type: str, key_id: str = "00112233aabbccdd") -> bytes:
    return json.dumps(
        {"type": type, "publicKey": "A" * 43 + "=", "keyId": key_id, "createdAt": "2026-11-24T03:00:00.000Z"}
    ).encode()


def ago(hours: float) -> str:
    return str(int(NOW.timestamp() - hours * HOUR))


def secret(data: dict[str, bytes] | None = None, **annotations: str) -> SecretData:
    """All types with a key, rotated an hour ago, but for what is given; annotations have `_` for `-`."""
    found = {f"{one}-key": key(one) for one in ALL} if data is None else data
    marks = {f"last-rotation-{one}": ago(1) for one in ALL}
    marks |= {name.replace("_", "-"): value for name, value in annotations.items()}
    return SecretData("g3zkp-keys", "7", found, {name: value for name, value in marks.items() if value})


def planned(of: SecretData, *, types: tuple[str, ...] = (), force: bool = False, **settings: float) -> RotationPlan:
    standings = all_standings(of, Rotation.model_validate(settings), NOW)
    return plan_rotation(standings, types=checked_types(types), force=force, now=NOW)


def why(plan: RotationPlan, type: str) -> str:
    return next(item.why for item in plan.items if item.type == type)


def test_a_key_that_is_as_old_as_its_interval_is_due_and_a_younger_one_is_not() -> None:
    plan = planned(secret(last_rotation_identity=ago(24), last_rotation_signing=ago(23.99)))
    assert plan.due == ("identity",)
    assert why(plan, "identity") == "last rotated 2026-11-24 03:00Z, every 24 h"
    assert why(plan, "signing") == "next due 2026-11-25 03:00Z"
    assert plan.restarts == (MESSENGER,)


def test_each_type_has_its_own_interval() -> None:
    of = secret(last_rotation_identity=ago(100), last_rotation_session=ago(5))
    plan = planned(of, identity_hours=168, session_hours=4, overlap_hours=2)
    assert plan.due == ("session",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "annotation last-rotation-signing is missing"),
        ("yesterday", "annotation last-rotation-signing is no time: 'yesterday'"),
        ("-5", "annotation last-rotation-signing is no time: '-5'"),
        ("٣٣", "annotation last-rotation-signing is no time: '٣٣'"),
        ("9" * 30, "annotation last-rotation-signing is no time: '" + "9" * 30 + "'"),
        (ago(-2), "annotation last-rotation-signing is in the future: 2026-11-25T05:00:00+00:00"),
    ],
)
def test_a_last_rotation_that_is_missing_garbage_or_to_come_makes_due_and_is_said(text: str, said: str) -> None:
    plan = planned(secret(last_rotation_signing=text))
    assert plan.due == ("signing",)
    assert why(plan, "signing") == said


def test_a_clock_that_is_a_minute_ahead_elsewhere_makes_nothing_due() -> None:
    assert planned(secret(last_rotation_signing=ago(-0.01))).due == ()


def test_a_key_that_is_missing_or_is_none_is_due_whatever_the_annotation_says() -> None:
    data = {f"{one}-key": key(one) for one in ALL}
    del data["session-key"]
    data["signing-key"] = b"{}"
    plan = planned(secret(data))
    assert plan.due == ("signing", "session")
    assert why(plan, "session") == "the Secret has no session-key"
    assert why(plan, "signing") == "signing-key in the Secret holds no key that can be understood"


def test_force_takes_all_of_the_types_asked_for_and_no_other() -> None:
    plan = planned(secret(), types=("session", "identity"), force=True)
    assert plan.due == ("identity", "session")
    assert [item.why for item in plan.items] == ["forced", "forced"]


def test_with_nothing_due_nothing_is_restarted() -> None:
    plan = planned(secret())
    assert (plan.due, plan.restarts, plan.retires) == ((), (), ())


def test_a_previous_key_goes_when_its_overlap_is_over_and_not_before() -> None:
    data = {f"{one}-key": key(one) for one in ALL}
    data |= {f"{one}-key-previous": key(one, "ffffffffffffffff") for one in ("identity", "signing")}
    of = secret(data, previous_until_identity=ago(0), previous_until_signing=ago(-0.1))
    assert planned(of).retires == ("identity",)


def test_a_previous_key_of_unknown_end_stays_for_the_overlap_after_the_last_rotation() -> None:
    data = {"identity-key": key("identity"), "identity-key-previous": key("identity", "ffffffffffffffff")}
    assert planned(secret(data, last_rotation_identity=ago(2)), overlap_hours=3).retires == ()
    assert planned(secret(data, last_rotation_identity=ago(3)), overlap_hours=3).retires == ("identity",)
    assert planned(secret(data, last_rotation_identity="")).retires == ()


def test_a_forced_rotation_says_which_previous_key_it_drops_before_its_time() -> None:
    data = {"identity-key": key("identity"), "identity-key-previous": key("identity", "ffffffffffffffff")}
    of = secret(data, previous_until_identity=ago(-5))
    (item,) = planned(of, types=("identity",), force=True).items
    assert item.drops == "ffffffffffffffff"
    (item,) = planned(secret(data, previous_until_identity=ago(1)), types=("identity",), force=True).items
    assert item.drops is None


def test_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"'quantum'.*identity, signing, encryption, session"):
        checked_types(["signing", "quantum"])


def test_an_overlap_longer_than_an_interval_is_refused() -> None:
    with pytest.raises(ValidationError, match="overlap_hours=24 is longer than the shortest interval, 12 h"):
        Rotation(session_hours=12)


def test_defaults_are_those_of_the_protocols() -> None:
    of = Rotation()
    assert {of.identity_hours, of.signing_hours, of.encryption_hours, of.session_hours} == {24}


def test_a_record_that_cannot_be_understood_stops_everything_and_says_what_to_do() -> None:
    assert read_record({}) is None
    for text in ("", "{}", '{"run":"r","phase":"lost","at":1}'):
        with pytest.raises(RotationFailed, match="remove the annotation"):
            read_record({RECORD: text})


def test_no_plan_shows_a_key() -> None:
    of = secret()
    shown = repr((of, planned(of), all_standings(of, Rotation(), NOW), planned(of).as_dict()))
    assert "A" * 20 not in shown
    assert timedelta(hours=24) == all_standings(of, Rotation(), NOW)[0].every
