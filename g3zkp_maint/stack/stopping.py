"""How people and systems ask `up` to end: the first signal for an orderly stop, a second one for an end at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Set from a signal handler, read by the loop."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._count = 0

    @property
    def is_asked(self) -> bool:
        return self._asked.is_set()

    @property
    def is_urgent(self) -> bool:
        return self._count > 1

    def ask(self) -> None:
        self._count += 1
        self._asked.set()

    def pause(self, seconds: float) -> None:
        """Waits, but not after the request has come for the first time."""
        if self.is_asked:
            threading.Event().wait(seconds)
        else:
            self._asked.wait(seconds)

    @contextmanager
    def on_signals(self) -> Iterator[StopRequest]:
        """Has SIGINT, SIGTERM and SIGHUP ask; puts the old handlers back afterwards. Main thread only."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.ask()

        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
