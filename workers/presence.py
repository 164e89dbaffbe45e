"""Each worker says that it is there, whenever its consumer's loop sends a heartbeat; metrics and probes look for it.

By Celery's signals, in the worker's main process: one whose loop hangs, or that was killed, falls silent. So does one that
has nothing to do while its queue holds messages: workers were seen that no longer take any after their broker came back,
and live on. Whoever supervises it starts it again (`g3zkp-maint probe worker`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from celery.signals import heartbeat_sent, worker_shutdown
from celery.worker import state

from g3zkp_maint.coordination.connection import connect
from g3zkp_maint.coordination.presence import Presence
from g3zkp_maint.errors import CoordinationUnavailable

#: Heartbeats come every 2 s; this is often enough.
EVERY_SECONDS = 4.0

_log = structlog.get_logger(__name__)


class Reporter:
    """Of one worker process. `queues` are those that it takes tasks from; `is_idle` tells that it has no task, and after
    `starved_seconds` of that beside a queue with messages it falls silent."""

    def __init__(
        self,
        presence: Presence,
        worker: str,
        queues: tuple[str, ...],
        *,
        is_idle: Callable[[], bool],
        starved_seconds: float,
    ) -> None:
        self._presence = presence
        self._worker = worker
        self._queues = queues
        self._is_idle = is_idle
        self._starved_seconds = starved_seconds
        self._starves_since: float | None = None
        self._next = 0.0

    def beat(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY_SECONDS
        try:
            if not self._starves(now):
                self._presence.report(self._worker, self._queues)
        except CoordinationUnavailable as error:
            # The broker is away with it: the worker has other trouble, and beats again.
            _log.warning("presence-not-reported", reason=str(error))

    def _starves(self, now: float) -> bool:
        """Redis gives a message at once to whoever waits for one, so an idle worker sees its queue empty at nearly every
        look."""
        if not self._is_idle() or not self._presence.backlog(self._queues):
            self._starves_since = None
            return False
        if self._starves_since is None:
            self._starves_since = now
        if now - self._starves_since < self._starved_seconds:
            return False
        _log.error("worker-takes-no-tasks", worker=self._worker, seconds=round(now - self._starves_since))
        return True

    def leave(self) -> None:
        try:
            self._presence.leave(self._worker, self._queues)
        except CoordinationUnavailable as error:
            _log.warning("presence-not-withdrawn", reason=str(error))


_reporter: Reporter | None = None


def _is_idle() -> bool:
    return not state.reserved_requests and not state.active_requests


def install(app: Any) -> None:
    """Connects the worker's signals. `app` is asked for its settings and queues when the first heartbeat comes."""

    def beat(sender: Any, **_: Any) -> None:
        global _reporter  # noqa: PLW0603 - one a worker process, as Celery's signals are
        if _reporter is None:
            _reporter = Reporter(
                Presence(connect(app.conf.broker_url, retries=0)),
                str(sender.eventer.hostname),
                tuple(app.amqp.queues.consume_from),
                is_idle=_is_idle,
                starved_seconds=app.conf.g3zkp_starved_seconds,
            )
        _reporter.beat()

    def leave(**_: Any) -> None:
        if _reporter is not None:
            _reporter.leave()

    heartbeat_sent.connect(beat, weak=False)
    worker_shutdown.connect(leave, weak=False)
