"""How it stands with each key, read from the Secret alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from g3zkp_maint.platforms.base import SecretData
from g3zkp_maint.rotation import entries
from g3zkp_maint.rotation.entries import KEY_TYPES, KeyType, read_key

#: A time that is ahead by no more than this is another machine's clock, and not in the future.
_SKEW = timedelta(seconds=60)
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Standing:
    """One type. `last` is when it was rotated, None where `doubt` says why that is not known; `key_id` None where the
    Secret holds no key that can be understood, then `fault` says so. `previous_until` None: for ever, or until replaced."""

    type: KeyType
    every: timedelta
    key_id: str | None
    fault: str
    last: datetime | None
    doubt: str
    previous_id: str | None
    has_previous: bool
    previous_until: datetime | None

    @property
    def next_due(self) -> datetime | None:
        """None: at once."""
        return None if self.last is None or self.fault else self.last + self.every

    def is_due(self, now: datetime) -> bool:
        return self.next_due is None or self.next_due <= now

    def is_retired(self, now: datetime) -> bool:
        """Whether the previous key's overlap is over."""
        return self.has_previous and self.previous_until is not None and self.previous_until <= now

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """For JSON; times in ISO, ages in seconds."""
        return {
            "type": self.type,
            "key_id": self.key_id,
            "last_rotation": _iso(self.last),
            "age_seconds": None if self.last is None else round((now - self.last).total_seconds()),
            "next_due": _iso(self.next_due),
            "due": self.is_due(now),
            "problem": self.fault or self.doubt,
            "previous_key_id": self.previous_id,
            "previous_until": _iso(self.previous_until),
        }


def standings(
    secret: SecretData, *, every: Mapping[KeyType, timedelta], overlap: timedelta, now: datetime
) -> tuple[Standing, ...]:
    """Of all types. `every` is how often each is to be rotated."""
    return tuple(_standing(secret, one, every[one], overlap, now) for one in KEY_TYPES)


def _standing(secret: SecretData, type: KeyType, every: timedelta, overlap: timedelta, now: datetime) -> Standing:
    value, old_value = secret.data.get(entries.current(type)), secret.data.get(entries.previous(type))
    key, old = read_key(value), read_key(old_value)
    last, doubt = _last(secret.annotations, type, now)
    until = _moment(secret.annotations.get(entries.previous_until(type)))
    if until is None and last is not None:
        until = last + overlap
    return Standing(
        type=type,
        every=every,
        key_id=key.keyId if key else None,
        fault="" if key else _fault(type, has_value=value is not None),
        last=last,
        doubt=doubt,
        previous_id=old.keyId if old else None,
        has_previous=old_value is not None,
        previous_until=until if old_value is not None else None,
    )


def _fault(type: KeyType, *, has_value: bool) -> str:
    name = entries.current(type)
    return f"{name} in the Secret holds no key that can be understood" if has_value else f"the Secret has no {name}"


def _last(annotations: Mapping[str, str], type: KeyType, now: datetime) -> tuple[datetime | None, str]:
    name = entries.last_rotation(type)
    text = annotations.get(name)
    if text is None:
        return None, f"annotation {name} is missing"
    moment = _moment(text)
    if moment is None:
        return None, f"annotation {name} is no time: {text[:_SHOWN]!r}"
    if moment > now + _SKEW:
        return None, f"annotation {name} is in the future: {moment.isoformat()}"
    return moment, ""


def _moment(text: str | None) -> datetime | None:
    if text is None or not text.isascii() or not text.isdigit():
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
