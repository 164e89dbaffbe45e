"""What is on record of maintenance windows: the windows, and what people were told of each (hashes, id -> JSON).

They are changed by compare-and-set over all of them: so two that overlap cannot be planned at the same moment. No key
ever expires; what is over for long is removed by `forget`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import redis
from pydantic import BaseModel

from g3zkp_maint.coordination.connection import reaching
from g3zkp_maint.errors import WindowChanged
from g3zkp_maint.windows.telling import Told
from g3zkp_maint.windows.window import Window

WINDOWS = "g3zkp:windows"
TOLD = "g3zkp:windows:told"

#: How often a change is tried while others change other windows.
_TRIES = 20
_Model = TypeVar("_Model", bound=BaseModel)


class WindowLedger:
    """All methods raise CoordinationUnavailable when Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def windows(self) -> dict[str, Window]:
        """By id."""
        return self._all(WINDOWS, Window)

    def told(self) -> dict[str, Told]:
        """By window id."""
        return self._all(TOLD, Told)

    def change(self, decide: Callable[[dict[str, Window]], Iterable[Window]]) -> tuple[Window, ...]:
        """Saves what `decide` makes of all records, and returns it. Nobody changes any of them between the two: else it is
        asked again. Raises WindowChanged, and what `decide` raises, with nothing saved."""
        changed = self._change(WINDOWS, Window, lambda records: {one.id: one for one in decide(records)})
        return tuple(changed.values())

    def change_told(self, decide: Callable[[dict[str, Told]], dict[str, Told]]) -> dict[str, Told]:
        """As `change`, of what was told; by window id."""
        return self._change(TOLD, Told, decide)

    def forget(self, ids: Iterable[str]) -> None:
        """Removes all that is on record of these windows."""
        chosen = list(ids)
        if not chosen:
            return
        with (
            reaching(self._client, "forget windows that are over"),
            self._client.pipeline(transaction=True) as pipeline,
        ):
            pipeline.hdel(WINDOWS, *chosen)
            pipeline.hdel(TOLD, *chosen)
            pipeline.execute()

    def _all(self, key: str, model: type[_Model]) -> dict[str, _Model]:
        with reaching(self._client, "read the maintenance windows"):
            return _parsed(model, self._client.hgetall(key))

    def _change(
        self, key: str, model: type[_Model], decide: Callable[[dict[str, _Model]], dict[str, _Model]]
    ) -> dict[str, _Model]:
        with reaching(self._client, "change maintenance windows"), self._client.pipeline(transaction=True) as pipeline:
            for _ in range(_TRIES):
                pipeline.watch(key)  # type: ignore[no-untyped-call]
                changed = decide(_parsed(model, pipeline.hgetall(key)))
                if not changed:
                    return {}
                pipeline.multi()
                pipeline.hset(key, mapping={name: one.model_dump_json() for name, one in changed.items()})
                try:
                    pipeline.execute()
                except redis.WatchError:  # another was quicker: what it changed is looked at
                    continue
                return changed
        raise WindowChanged("maintenance windows are being changed by others; look again, then try again")


def _parsed(model: type[_Model], texts: Any) -> dict[str, _Model]:
    return {str(name): model.model_validate_json(text) for name, text in texts.items()}
