"""What the messenger's Secret holds, by name, and how a key in it is written.

Data: `<type>-key` is the key in use; `<type>-key-previous` the one before it, kept for the overlap; `<type>-key-former`
is there only while a rotation is under way, where it replaced a previous key that was still in its overlap.
Annotations: `last-rotation-<type>` and `previous-until-<type>` in seconds since 1970, as the maintenance protocols write
the first one; RECORD tells how far the last rotation came.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

KeyType = Literal["identity", "signing", "encryption", "session"]
KEY_TYPES: tuple[KeyType, ...] = get_args(KeyType)

#: How far the last rotation came (record.py): JSON without any key material.
RECORD = "g3zkp-maint/rotation"

_LEAST_KEY_BYTES = 16


def current(type: KeyType) -> str:
    return f"{type}-key"


def previous(type: KeyType) -> str:
    return f"{type}-key-previous"


def former(type: KeyType) -> str:
    return f"{type}-key-former"


def last_rotation(type: KeyType) -> str:
    return f"last-rotation-{type}"


def previous_until(type: KeyType) -> str:
    return f"previous-until-{type}"


def _is_public_key(text: str) -> str:
    try:
        size = len(base64.b64decode(text, validate=True))
    except binascii.Error:
        raise ValueError("is not base64") from None
    if size < _LEAST_KEY_BYTES:
        raise ValueError(f"has {size} bytes, a key has at least {_LEAST_KEY_BYTES}")
    return text


def _is_moment(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() is None:
        raise ValueError("has no time zone")
    return text


class NewKey(BaseModel):
    """A key as `node -e` answers, and as it stands in the Secret. Only its type and id may be shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: KeyType
    publicKey: Annotated[str, AfterValidator(_is_public_key)] = Field(repr=False)  # noqa: N815  the messenger's name
    keyId: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{3,127}$")]  # noqa: N815
    createdAt: Annotated[str, AfterValidator(_is_moment)]  # noqa: N815

    def stored(self) -> bytes:
        """The value in the Secret: one line of JSON, as the protocols' script would have put there."""
        return json.dumps(self.model_dump()).encode()


def read_key(value: bytes | None) -> NewKey | None:
    """The key that a value of the Secret holds; None where it holds none that can be understood."""
    try:
        return None if value is None else NewKey.model_validate_json(value)
    except ValidationError:
        # What is wrong with it would show it.
        return None
