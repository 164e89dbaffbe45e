"""The messenger's Redis, brought back from a dump: the file is put in its place while the server is down.

Three traps of the old way are closed. A server that runs writes its own dump over ours when it stops: so it is stopped
first. One with `appendonly yes` reads its append-only files and ignores a bare dump: so the dump also becomes the base of
a new append-only set. And one whose settings were changed while it ran (CONFIG SET) starts with those that it was given,
perhaps in another folder, under other names: so it is asked again once it runs, and where it says something else than
before, it is stopped and the dump is put where it really looks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
import structlog

from g3zkp_maint.backup.redis_volume import RedisLayout, RedisVolume
from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import DeadlineExceeded, ExecFailed, RestoreError, SourceError
from g3zkp_maint.platforms.base import REDIS, Platform

_log = structlog.get_logger(__name__)

HELPER = "g3zkp-restore-redis"
#: One more than it takes: asked before its end, the server may have told of settings that ended with it.
_ROUNDS = 3
_POLL_SECONDS = 0.2
_CONFIG = ("dir", "dbfilename", "appendonly", "appendfilename", "appenddirname")


@dataclass(frozen=True)
class DumpSource:
    """A dump to bring back: `open` gives its bytes, checked, from the beginning each time; of its `keys` so many as
    `expiring` may have gone by now."""

    open: Callable[[], Iterator[bytes]]
    size: int
    keys: int
    expiring: int


@dataclass(frozen=True)
class RedisRestore:
    """`url` asks the server, `folder` is where its data is if it cannot be asked; `run` names the restore. `remember`
    keeps a layout for the case that this process dies."""

    platform: Platform
    clock: Clock
    guard: Guard
    url: str
    folder: str
    run: str
    stop_seconds: float
    start_seconds: float
    remember: Callable[[RedisLayout], None]

    def carry_out(self, dump: DumpSource, layout: RedisLayout | None, *, replicas: int) -> int:
        """Brings the server back with the dump's keys, and returns how many there are. `layout` is what the server said
        of itself while it ran, None where it did not. May be repeated after a kill at any line.

        Raises RestoreError, DeadlineExceeded where the server does not stop or come up in time, LeaseLost, and what
        `dump` and the platform raise."""
        folders: set[str] = set()
        for _ in range(_ROUNDS):
            self.guard.verify()
            self._scale(0, self.stop_seconds)
            expected = self._place(dump, layout)
            self._scale(replicas, self.start_seconds)
            await_up(self.url, clock=self.clock, deadline_seconds=self.start_seconds)
            layout = read_layout(self.url)
            folders |= {layout.folder, *([expected.folder] if expected else [])}
            if layout == expected:
                return self._checked(dump, folders)
            self.remember(layout)
        raise RestoreError(
            "the messenger's Redis keeps its data elsewhere after each start; see what changes its settings"
        )

    def _scale(self, replicas: int, deadline_seconds: float) -> None:
        self.platform.scale(REDIS, replicas)
        self.platform.wait_scaled(REDIS, deadline_seconds)

    def _place(self, dump: DumpSource, layout: RedisLayout | None) -> RedisLayout | None:
        """Returns the layout in which the dump is now, None where it could not be put: the server then tells more."""
        with self.platform.helper_pod(HELPER, of=REDIS) as helper:
            volume = RedisVolume(self.platform, helper, self.run)
            found = layout or volume.guess(self.folder)
            self.guard.verify()
            return found if volume.place(found, dump.open(), dump.size) else None

    def _checked(self, dump: DumpSource, folders: set[str]) -> int:
        keys = check_keys(self.url, keys=dump.keys, expiring=dump.expiring)
        for folder in sorted(folders):
            try:
                # In the running server: its volume may be one that only one pod can have.
                RedisVolume(self.platform, REDIS, self.run).drop_former(folder)
            except ExecFailed as error:
                # The server is right, and what went aside only takes room.
                _log.warning("former-redis-files-kept", folder=folder, reason=str(error))
        return keys


def read_layout(url: str) -> RedisLayout:
    """Asks the running server. Raises SourceError where it does not answer or does not let us ask."""
    config: dict[str, str] = {}
    try:
        with _client(url) as client:
            for name in _CONFIG:
                config |= {str(key): str(value) for key, value in client.config_get(name).items()}
    except redis.RedisError as error:
        raise SourceError(
            f"the messenger's Redis does not tell how it keeps its data ({type(error).__name__}); its user needs "
            "CONFIG GET and INFO"
        ) from None
    return RedisLayout(
        folder=config["dir"],
        dump=config["dbfilename"],
        is_append_only=config["appendonly"] == "yes",
        append_file=config["appendfilename"],
        append_folder=config.get("appenddirname"),
    )


def await_up(url: str, *, clock: Clock, deadline_seconds: float) -> None:
    """Returns when the server answers and has loaded its data. Raises DeadlineExceeded, SourceError where it lets nobody
    in by that address."""
    until, pause = clock.monotonic() + deadline_seconds, threading.Event()
    while True:
        state = _state(url)
        if state == "up":
            return
        if clock.monotonic() >= until:
            raise DeadlineExceeded(
                f"the messenger's Redis is not up within {deadline_seconds:g} s after its start ({state}); see its log"
            )
        pause.wait(_POLL_SECONDS)


def _state(url: str) -> str:
    try:
        with _client(url) as client:
            return "loading" if client.info("persistence").get("loading") else "up"
    except redis.AuthenticationError:
        raise SourceError(
            "the messenger's Redis refuses the password or user of backup.redis_url; correct it"
        ) from None
    except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError, redis.InvalidResponse) as error:
        # Where pods come and go an address leads nowhere for a moment, or to another pod.
        return type(error).__name__
    except redis.RedisError as error:
        raise SourceError(f"the messenger's Redis does not answer INFO ({type(error).__name__})") from None


def check_keys(url: str, *, keys: int, expiring: int) -> int:
    """How many keys the server has now. Raises RestoreError unless they are those of the dump; only keys that may
    expire can have gone meanwhile."""
    try:
        with _client(url) as client:
            keyspace: dict[str, Any] = client.info("keyspace")
    except redis.RedisError as error:
        raise RestoreError(
            f"the messenger's Redis does not answer after the restore ({type(error).__name__})"
        ) from None
    now = sum(int(database["keys"]) for database in keyspace.values() if isinstance(database, dict))
    if not keys - expiring <= now <= keys:
        raise RestoreError(
            f"the messenger's Redis came up with {now} keys where the backup has {keys} ({expiring} of them may expire); "
            "its former files are kept beside the new ones, with .g3zkp-before- in their names"
        )
    return now


@contextmanager
def _client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url, decode_responses=True, socket_timeout=30, socket_connect_timeout=5) as client:
        yield client
