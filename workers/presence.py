"""Each worker says that it is there, whenever its consumer's loop sends a heartbeat; metrics count who does.

By Celery's signals, in the worker's main process: one whose loop hangs, or that was killed, falls silent.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from celery.signals import heartbeat_sent, worker_shutdown

from g3zkp_maint.coordination.connection import connect
from g3zkp_maint.coordination.presence import Presence
from g3zkp_maint.errors import CoordinationUnavailable

#: Heartbeats come every 2 s; this is often enough.
EVERY_SECONDS = 4.0

_log = structlog.get_logger(__name__)


class Reporter:
    """Of one worker process. `queues` are those that it takes tasks from."""

    def __init__(self, presence: Presence, worker: str, queues: tuple[str, ...]) -> None:
        self._presence = presence
        self._worker = worker
        self._queues = queues
        self._next = 0.0

    def beat(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY_SECONDS
        try:
            self._presence.report(self._worker, self._queues)
        except CoordinationUnavailable as error:
            # The broker is away with it: the worker has other trouble, and beats again.
            _log.warning("presence-not-reported", reason=str(error))

    def leave(self) -> None:
        try:
            self._presence.leave(self._worker, self._queues)
        except CoordinationUnavailable as error:
            _log.warning("presence-not-withdrawn", reason=str(error))


_reporter: Reporter | None = None


def install(app: Any) -> None:
    """Connects the worker's signals. `app` is asked for its settings and queues when the first heartbeat comes."""

    def beat(sender: Any, **_: Any) -> None:
        global _reporter  # noqa: PLW0603 - one a worker process, as Celery's signals are
        if _reporter is None:
            client = connect(app.conf.broker_url, retries=0)
            _reporter = Reporter(Presence(client), str(sender.eventer.hostname), tuple(app.amqp.queues.consume_from))
        _reporter.beat()

    def leave(**_: Any) -> None:
        if _reporter is not None:
            _reporter.leave()

    heartbeat_sent.connect(beat, weak=False)
    worker_shutdown.connect(leave, weak=False)
