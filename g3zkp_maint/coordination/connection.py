"""The one way to Redis: timeouts on every call, a few quick retries, and errors in the product's own words.

Redis (or Valkey) is restarted in normal life. A call therefore retries for about a second by itself; past that it
raises CoordinationUnavailable, and whoever called decides (a lease lasts until its time to live ends, a task is retried
later). A retried call may have been carried out already, its answer lost: the scripts of this package bear it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, ResponseError
from redis.retry import Retry

from g3zkp_maint.errors import CoordinationUnavailable, SettingsError

#: Seconds to reach the server, and for one answer.
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0

#: Retries of a call within itself, and the longest pause between two, in seconds.
RETRIES = 3
LONGEST_PAUSE_SECONDS = 1.0

#: A connection idle for longer is asked for a PING before it is used.
HEALTH_CHECK_SECONDS = 30

#: Error replies that pass by themselves or by an operator's hand, with no change to the call.
_PASSING_REPLIES = ("READONLY", "OOM", "MISCONF", "LOADING", "MASTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN")


def connect(url: str, *, retries: int = RETRIES) -> redis.Redis:
    """A client, safe for threads, that opens no socket before its first call; answers are `str`. With fewer `retries` a
    call tells sooner that Redis is away.

    Raises SettingsError when `url` is not a Redis URL; neither the error nor its cause shows the URL, which may hold
    a password.
    """
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_keepalive=True,
            health_check_interval=HEALTH_CHECK_SECONDS,
            retry=Retry(ExponentialBackoff(cap=LONGEST_PAUSE_SECONDS, base=0.05), retries),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError],
        )
    except ValueError:
        # The parser's message quotes parts of the URL: with an unescaped password that is the password.
        raise SettingsError(
            "redis.url is not a Redis URL (its value is not shown); write redis://[user:password@]host[:port][/db], "
            "with special characters in the password percent-encoded"
        ) from None


@contextmanager
def reaching(client: redis.Redis, purpose: str) -> Iterator[None]:
    """Turns the client's errors inside the block into the product's; `purpose` says what was being done.

    Raises CoordinationUnavailable when Redis is away, loading, full or read-only, SettingsError when it refuses the
    credentials. Other error replies pass through: they are faults of this program.
    """
    try:
        yield
    except (AuthenticationError, AuthorizationError) as error:
        raise SettingsError(
            f"Redis at {location(client)} refuses the credentials to {purpose}; check user and password in redis.url"
        ) from error
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise CoordinationUnavailable(
            f"cannot {purpose}: Redis at {location(client)} is not reached ({type(error).__name__}); is it running?"
        ) from error
    except ResponseError as error:
        if not _passes(error):
            raise
        raise CoordinationUnavailable(
            f"cannot {purpose}: Redis at {location(client)} refuses for now: {error}"
        ) from error


def location(client: redis.Redis) -> str:
    """Where the client connects to, for messages: host, port and database, or socket path; never the password."""
    known = client.connection_pool.connection_kwargs
    place = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"
    return f"{place}/{known.get('db') or 0}"


def _passes(error: ResponseError) -> bool:
    known = (redis.ReadOnlyError, redis.OutOfMemoryError, redis.BusyLoadingError)
    return isinstance(error, known) or str(error).startswith(_PASSING_REPLIES)
