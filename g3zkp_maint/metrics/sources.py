"""What is asked rarely, in the background: a scrape never waits for a store, a Secret or the messenger.

Each source tells how its last reading went. What was read of the store and of keys stays when a later reading fails:
these are times, they only grow old, and alerts on their age must go on. The messenger's disk usage is dropped then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import MaintenanceError
from g3zkp_maint.metrics.facts import SourceState

#: A source that failed is asked again after this, or sooner where all are.
RETRY_SECONDS = 15.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """`read` may raise any MaintenanceError; `keeps` says whether what was read stays when a later reading fails."""

    name: str
    read: Callable[[], Any]
    keeps: bool = True


class Sources:
    """Reads each source now and then, on a thread of its own, until it is stopped."""

    def __init__(self, sources: tuple[Source, ...], *, clock: Clock, every_seconds: float) -> None:
        self._sources = sources
        self._clock = clock
        self._every_seconds = every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics sources", daemon=True)
        self._states: dict[str, SourceState] = {one.name: SourceState(False, 0.0, 0.0) for one in sources}
        self._values: dict[str, Any] = {}
        self._due = {one.name: float("-inf") for one in sources}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Does not wait for a reading under way: the thread ends with the process."""
        self._stopping.set()

    def states(self) -> Mapping[str, SourceState]:
        return dict(self._states)

    def value(self, name: str) -> Any:
        """What was read of that source; None where nothing was."""
        return self._values.get(name)

    def read_due(self) -> float:
        """Reads those whose time has come. Returns the seconds until the next one's."""
        for source in self._sources:
            if self._clock.monotonic() >= self._due[source.name]:
                pause = self._every_seconds if self._read(source) else min(self._every_seconds, RETRY_SECONDS)
                self._due[source.name] = self._clock.monotonic() + pause
        return max(0.0, min(self._due.values(), default=self._every_seconds) - self._clock.monotonic())

    def _run(self) -> None:
        while not self._stopping.wait(self.read_due()):
            pass

    def _read(self, source: Source) -> bool:
        before = self._states[source.name]
        began = self._clock.monotonic()
        try:
            value = source.read()
        except Exception as error:  # noqa: BLE001 - a thread has no caller: whatever it is, the source is told as down
            self._states[source.name] = SourceState(False, before.read_at, self._clock.monotonic() - began)
            if not source.keeps:
                self._values.pop(source.name, None)
            why = str(error) if isinstance(error, MaintenanceError) else type(error).__name__
            _log.warning("metrics-source-failed", source=source.name, reason=why)
            return False
        self._values[source.name] = value
        self._states[source.name] = SourceState(True, self._clock.now().timestamp(), self._clock.monotonic() - began)
        return True
