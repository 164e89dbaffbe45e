"""What Celery 5.7 and kombu 5.7 do wrong when Redis goes away and comes back; both seen with a broker that is restarted.

Without these a restart of Redis could end a worker, or fail a backup that goes on: a run's own record and the reaper
bring it to its end, but whoever waits for the result would have been told otherwise.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery.backends.redis import RedisBackend
from celery.worker.consumer import Consumer

_log = structlog.get_logger(__name__)


class PatientResults(RedisBackend):  # type: ignore[misc]  # Celery publishes no types
    """Tells a chord of its part's end for as long as it takes, as Celery does with the part's result.

    Celery asks once, and takes the lost connection for the part's failure. Asking again is safe: the chord knows each
    part by its id, and what was counted stays counted.
    """

    def on_chord_part_return(self, request: Any, state: Any, result: Any, *args: Any, **kwargs: Any) -> Any:
        def tell() -> Any:
            return super(PatientResults, self).on_chord_part_return(request, state, result, *args, **kwargs)

        return self.ensure(tell, (), max_retries=None, timeout=None)


class SteadyConsumer(Consumer):  # type: ignore[misc]  # Celery publishes no types
    """Goes on to connect anew where the old connection could not be closed.

    kombu closes a connection's channel twice; where the first time fails on the lost socket, the second finds no
    address any more (AttributeError), which Celery takes for a reason to end the worker. What the channel would have
    given back, Redis gives out again after the visibility timeout, and the reaper long before.
    """

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError as error:
            _log.warning("connection-not-closed", reason=str(error))
