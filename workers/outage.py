"""What Celery 5.7 and kombu 5.7 do wrong when Redis goes away and comes back; both seen with a broker that is restarted.

Without these a restart of Redis could end a worker, or fail a backup that goes on: a run's own record and the reaper
bring it to its end, but whoever waits for the result would have been told otherwise.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.backends.redis import RedisBackend
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as broker

_SCHEMES = ("redis", "rediss")


class ClosedForGood(ConnectionError):
    """Raised when a channel is used whose connection was closed: a message that came by it is acknowledged too late."""


class SteadyChannel(broker.Channel):
    """Says of a connection that is closed that it is closed.

    Where the lost socket fails while kombu closes the connection, its channels stay open without an address; the next
    use of one is an AttributeError, which Celery takes for a reason to end the worker. What was not acknowledged, Redis
    gives out again after the visibility timeout, and the reaper long before.
    """

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:
        if self.connection.client is None:
            raise ClosedForGood("the connection of this channel to the broker was closed")
        return super()._connparams(*args, **kwargs)  # type: ignore[no-untyped-call]


class SteadyTransport(broker.Transport):
    Channel = SteadyChannel


class PatientResults(RedisBackend):  # type: ignore[misc]
    """Tells a chord of its part's end for as long as it takes, as Celery does with the part's result.

    Celery asks once, and takes the lost connection for the part's failure. Asking again is safe: the chord knows each
    part by its id, and what was counted stays counted.
    """

    def on_chord_part_return(self, request: Any, state: Any, result: Any, *args: Any, **kwargs: Any) -> Any:
        def tell() -> Any:
            return super(PatientResults, self).on_chord_part_return(request, state, result, *args, **kwargs)

        return self.ensure(tell, (), max_retries=None, timeout=None)


def install(app: Celery) -> None:
    """For the broker of this process, and the results of this application."""
    TRANSPORT_ALIASES.update(dict.fromkeys(_SCHEMES, f"{__name__}:{SteadyTransport.__name__}"))
    app.loader.override_backends = dict.fromkeys(_SCHEMES, f"{__name__}:{PatientResults.__name__}")
