"""The changes of the Secret, one function for each: pure. What each is for, and when: carry_out.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from g3zkp_maint.platforms.base import SecretData
from g3zkp_maint.rotation import entries
from g3zkp_maint.rotation.entries import KEY_TYPES, RECORD, KeyType, NewKey, read_key
from g3zkp_maint.rotation.record import Change, Phase, Record


@dataclass(frozen=True, slots=True)
class Patch:
    """Values and annotations to set; None removes one. `repr` shows no value."""

    data: Mapping[str, bytes | None] = field(default_factory=dict, repr=False)
    annotations: Mapping[str, str | None] = field(default_factory=dict)

    def is_applied(self, secret: SecretData) -> bool:
        return all(secret.data.get(name) == value for name, value in self.data.items()) and all(
            secret.annotations.get(name) == value for name, value in self.annotations.items()
        )


def concerns(secret: SecretData) -> tuple[dict[str, bytes | None], dict[str, str | None]]:
    """All of a Secret that rotation reads. Another writer may change the rest and is in nobody's way."""
    names = (entries.current, entries.previous, entries.former)
    data = {name(one): secret.data.get(name(one)) for one in KEY_TYPES for name in names}
    marks = [name(one) for one in KEY_TYPES for name in (entries.last_rotation, entries.previous_until)]
    return data, {name: secret.annotations.get(name) for name in (*marks, RECORD)}


def begin(record: Record) -> Patch:
    return Patch(annotations={RECORD: record.text()})


def retire(types: Iterable[KeyType]) -> Patch:
    """Previous keys whose overlap is over go."""
    chosen = tuple(types)
    return Patch({entries.previous(one): None for one in chosen}, {entries.previous_until(one): None for one in chosen})


def changes(secret: SecretData, keys: Sequence[NewKey]) -> tuple[Change, ...]:
    """What replacing the Secret's keys by `keys` comes to."""
    return tuple(_change(secret.data.get(entries.current(key.type)), key) for key in keys)


def _change(value: bytes | None, key: NewKey) -> Change:
    old = read_key(value)
    return Change(type=key.type, key_id=key.keyId, former_id=old.keyId if old else None, had_key=value is not None)


def stage(secret: SecretData, record: Record, keys: Sequence[NewKey], *, retires: Iterable[KeyType]) -> Patch:
    """New keys beside the old ones. `record` tells of the same keys, and that they are staged."""
    gone = set(retires)
    retired = retire(gone)
    data: dict[str, bytes | None] = dict(retired.data)
    for key in keys:
        old, older = secret.data.get(entries.current(key.type)), secret.data.get(entries.previous(key.type))
        data[entries.current(key.type)] = key.stored()
        if old is None:
            continue
        data[entries.previous(key.type)] = old
        data[entries.former(key.type)] = None if key.type in gone else older
    return Patch(data, {**retired.annotations, RECORD: record.text()})


def commit(secret: SecretData, record: Record, *, now: datetime, overlap: timedelta) -> Patch:
    """The new keys are in use: they count as rotated, and the previous ones stay for `overlap`."""
    data: dict[str, bytes | None] = {}
    annotations: dict[str, str | None] = {RECORD: record.moved(Phase.ROTATED, at=seconds(now)).text()}
    for one in record.types:
        data[entries.former(one)] = None
        annotations[entries.last_rotation(one)] = str(seconds(now))
        kept = entries.previous(one) in secret.data
        annotations[entries.previous_until(one)] = str(seconds(now + overlap)) if kept else None
    return Patch(data, annotations)


def undo(secret: SecretData, record: Record, *, now: datetime, why: str) -> Patch:
    """The former values come back, where the new ones are still those of `record`: what another has written stays."""
    data: dict[str, bytes | None] = {}
    for change in record.changes:
        if is_ours(secret, change):
            old = secret.data.get(entries.previous(change.type)) if change.had_key else None
            data[entries.current(change.type)] = old
        if change.had_key:
            data[entries.previous(change.type)] = secret.data.get(entries.former(change.type))
            data[entries.former(change.type)] = None
    return Patch(data, {RECORD: record.moved(Phase.UNDOING, at=seconds(now), why=why).text()})


def settle(record: Record, *, now: datetime) -> Patch:
    return Patch(annotations={RECORD: record.moved(Phase.UNDONE, at=seconds(now)).text()})


def is_ours(secret: SecretData, change: Change) -> bool:
    """Whether the Secret's key is the new one of `change`."""
    key = read_key(secret.data.get(entries.current(change.type)))
    return key is not None and key.keyId == change.key_id


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())
