"""How far a long run has come, kept outside the process: a run that is taken over goes on where it was.

Facts are merged one by one (a hash), so two saves never erase each other; they are written before the step that they
describe is counted as done. No secret belongs in them.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import redis

from g3zkp_maint.coordination.connection import reaching


class Checkpoint(Protocol):
    """Facts by name; each value is JSON."""

    def load(self) -> dict[str, Any]: ...

    def save(self, **facts: Any) -> None:
        """Durable when this returns, as far as the store behind it is."""
        ...


class RedisCheckpoint:
    """Kept for `keep_days` after the last save. Raises CoordinationUnavailable."""

    def __init__(self, client: redis.Redis, name: str, *, keep_days: float) -> None:
        self._client = client
        self._key = f"g3zkp:checkpoint:{name}"
        self._keep_seconds = round(keep_days * 86_400)

    def load(self) -> dict[str, Any]:
        with reaching(self._client, "read how far a run has come"):
            return {str(name): json.loads(value) for name, value in self._client.hgetall(self._key).items()}

    def save(self, **facts: Any) -> None:
        with reaching(self._client, "record how far a run has come"):
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hset(self._key, mapping={name: json.dumps(value) for name, value in facts.items()})
            pipeline.expire(self._key, self._keep_seconds)
            pipeline.execute()


class MemoryCheckpoint:
    """For work that nobody could take over: a restore to another folder, and tests."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}

    def load(self) -> dict[str, Any]:
        return dict(self._facts)

    def save(self, **facts: Any) -> None:
        self._facts.update(facts)
