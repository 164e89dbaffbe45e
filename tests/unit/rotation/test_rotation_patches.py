"""The changes of the Secret: what is beside what at each phase, and that the way back leads to where it began."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.platforms.base import SecretData
from g3zkp_maint.rotation import patch as patches
from g3zkp_maint.rotation.entries import KEY_TYPES, RECORD, KeyType, NewKey
from g3zkp_maint.rotation.patch import Patch
from g3zkp_maint.rotation.record import Phase, Record, read_record

NOW = datetime(2026, 11, 25, 3, tzinfo=UTC)
BEGUN = Record(run="r1", phase=Phase.BEGUN, at=1)


def new_key(type: KeyType, key_id: str) -> NewKey:
    return NewKey(type=type, publicKey="B" * 43 + "=", keyId=key_id, createdAt="2026-11-25T03:00:00.000Z")


def applied(secret: SecretData, patch: Patch) -> SecretData:
    data = {name: value for name, value in {**secret.data, **patch.data}.items() if value is not None}
    notes = {name: text for name, text in {**secret.annotations, **patch.annotations}.items() if text is not None}
    return SecretData(secret.name, str(int(secret.resource_version) + 1), data, notes)


def staged(secret: SecretData, keys: list[NewKey], retires: tuple[KeyType, ...] = ()) -> tuple[SecretData, Record]:
    record = BEGUN.model_copy(update={"phase": Phase.STAGED, "changes": patches.changes(secret, keys)})
    return applied(secret, patches.stage(secret, record, keys, retires=retires)), record


OLD = new_key("signing", "aaaa0000").stored()
OLDER = new_key("signing", "99990000").stored()
NEW = new_key("signing", "bbbb0000")


def test_the_new_key_comes_beside_the_old_one_and_counts_as_rotated_only_at_the_end() -> None:
    secret = SecretData("s", "1", {"signing-key": OLD}, {"last-rotation-signing": "5"})
    during, record = staged(secret, [NEW])
    assert during.data == {"signing-key": NEW.stored(), "signing-key-previous": OLD}
    assert during.annotations["last-rotation-signing"] == "5"
    assert read_record(during.annotations) == record
    assert (record.changes[0].key_id, record.changes[0].former_id) == ("bbbb0000", "aaaa0000")
    after = applied(during, patches.commit(during, record, now=NOW, overlap=timedelta(hours=24)))
    assert after.data == during.data
    assert after.annotations["last-rotation-signing"] == str(int(NOW.timestamp()))
    assert after.annotations["previous-until-signing"] == str(int(NOW.timestamp()) + 86400)


def test_a_first_key_has_none_before_it_and_its_way_back_leaves_none() -> None:
    secret = SecretData("s", "1", {}, {})
    during, record = staged(secret, [NEW])
    assert during.data == {"signing-key": NEW.stored()}
    committed = applied(during, patches.commit(during, record, now=NOW, overlap=timedelta(hours=1)))
    assert "previous-until-signing" not in committed.annotations
    assert applied(during, patches.undo(during, record, now=NOW, why="x")).data == {}


def test_a_previous_key_in_its_overlap_survives_a_rotation_that_is_taken_back() -> None:
    secret = SecretData("s", "1", {"signing-key": OLD, "signing-key-previous": OLDER}, {"previous-until-signing": "9"})
    during, record = staged(secret, [NEW])
    assert during.data["signing-key-previous"] == OLD
    assert during.data["signing-key-former"] == OLDER
    back = applied(during, patches.undo(during, record, now=NOW, why="no pod got ready"))
    assert back.data == secret.data
    assert back.annotations["previous-until-signing"] == "9"
    forward = applied(during, patches.commit(during, record, now=NOW, overlap=timedelta(hours=1)))
    assert forward.data == {"signing-key": NEW.stored(), "signing-key-previous": OLD}


def test_previous_keys_past_their_overlap_go_in_the_same_patch() -> None:
    data = {"signing-key": OLD, "signing-key-previous": OLDER, "session-key-previous": b"old"}
    notes = {"previous-until-signing": "1", "previous-until-session": "1"}
    during, _ = staged(SecretData("s", "1", data, notes), [NEW], retires=("signing", "session"))
    assert during.data == {"signing-key": NEW.stored(), "signing-key-previous": OLD}
    assert set(during.annotations) == {RECORD}


def test_the_way_back_leaves_alone_what_another_has_written_meanwhile() -> None:
    secret = SecretData("s", "1", {"signing-key": OLD, "session-key": new_key("session", "cccc0000").stored()}, {})
    during, record = staged(secret, [NEW, new_key("session", "dddd0000")])
    theirs = SecretData("s", "9", {**during.data, "session-key": b"theirs"}, during.annotations)
    back = applied(theirs, patches.undo(theirs, record, now=NOW, why="x"))
    assert back.data["signing-key"] == OLD
    assert back.data["session-key"] == b"theirs"
    assert set(back.data) == {"signing-key", "session-key"}, "of ours nothing is left"


def test_a_patch_shows_no_value() -> None:
    during, record = staged(SecretData("s", "1", {"signing-key": OLD}, {}), [NEW])
    shown = repr((patches.stage(during, record, [NEW], retires=()), record.text(), NEW, during))
    assert "BBBB" not in shown


secrets = st.dictionaries(
    st.sampled_from([f"{one}-key{tail}" for one in KEY_TYPES for tail in ("", "-previous")] + ["other"]),
    st.binary(min_size=1, max_size=4),
)


@given(data=secrets, types=st.sets(st.sampled_from(KEY_TYPES), min_size=1))
def test_whatever_the_secret_held_the_way_back_leads_to_it(data: dict[str, bytes], types: set[KeyType]) -> None:
    secret = SecretData("s", "1", data, {})
    keys = [new_key(one, f"{number}eee0000") for number, one in enumerate(sorted(types))]
    during, record = staged(secret, keys)
    assert all(during.data[f"{key.type}-key"] == key.stored() for key in keys)
    assert applied(during, patches.undo(during, record, now=NOW, why="x")).data == data
