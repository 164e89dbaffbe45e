"""What all groups of settings share: their base, and the types that name a unit or a form."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

Seconds = Annotated[float, Field(gt=0)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Hours = Annotated[float, Field(ge=0)]


def _is_redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError(
            "must start with redis://, rediss:// or unix:// (the value is not shown, it may hold a password)"
        )
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_is_redis_url)]


class Group(BaseModel):
    """One topic of the tree."""

    model_config = ConfigDict(frozen=True, extra="forbid")
