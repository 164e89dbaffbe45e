"""Which notices have gone out, by which service (strings, `g3zkp:notice:<key>:<service>`): taken, then marked.

A claim is taken for seconds, a mark stays for days. A claim is given back by its own text only: one that ran out and
was taken by another is his.
"""

from __future__ import annotations

import uuid
from enum import Enum, auto

import redis

from g3zkp_maint.coordination.connection import reaching

_MARK = "sent"


class Claim(Enum):
    """What asking for a claim came to."""

    OURS = auto()
    TAKEN = auto()  # by another, who is at it
    MARKED = auto()  # it has gone out


class NoticeClaims:
    """All methods raise CoordinationUnavailable when Redis is away. Not for several threads at once."""

    def __init__(self, client: redis.Redis, *, keep_days: float, seconds: float = 120) -> None:
        """`seconds`: how long a claim lasts; longer than any service takes."""
        self._client = client
        self._keep_ms = round(keep_days * 86_400_000)
        self.seconds = seconds
        self._own = uuid.uuid4().hex

    def claim(self, key: str, service: str) -> Claim:
        name = _name(key, service)
        with reaching(self._client, f"claim notice {key}"):
            if self._client.set(name, self._own, nx=True, px=round(self.seconds * 1000)):
                return Claim.OURS
            return Claim.MARKED if self._client.get(name) == _MARK else Claim.TAKEN

    def mark(self, key: str, service: str) -> None:
        """It has gone out."""
        with reaching(self._client, f"mark notice {key} as sent"):
            self._client.set(_name(key, service), _MARK, px=self._keep_ms)

    def release(self, key: str, service: str) -> None:
        """It has not; another attempt may be made at once. A mark stays."""
        name = _name(key, service)
        with reaching(self._client, f"give back notice {key}"), self._client.pipeline() as pipeline:
            pipeline.watch(name)  # type: ignore[no-untyped-call]
            if pipeline.get(name) != self._own:
                return
            pipeline.multi()
            pipeline.delete(name)
            try:
                pipeline.execute()
            except redis.WatchError:  # it ran out at this moment
                return


def _name(key: str, service: str) -> str:
    return f"g3zkp:notice:{key}:{service}"
