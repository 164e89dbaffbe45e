"""The messenger's Redis: a fresh dump of it, checked, as a stream.

BGSAVE is sent in one breath with the question for the count of keys, and the server's count of commands proves that no
other client's came in between, so the count is that of the dump. (Not in a transaction: there BGSAVE is only scheduled,
and begins after others have written.) Then a poll with a deadline waits until no save is in progress, the last one is
ok and newer. The file is the one that the server
names by `dir` and `dbfilename`, read through the platform where the server runs. Format of an RDB file: magic REDIS or
VALKEY and four or three digits, then records, then the CRC-64 (Jones) of all before it, little-endian, zero for none.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import anycrc
import redis

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import DeadlineExceeded, SourceError
from g3zkp_maint.platforms.base import REDIS, Platform

_POLL_SECONDS = 0.1
_MAGIC = (b"REDIS", b"VALKEY")
_CRC_BYTES = 8
_DATABASE = re.compile(r"db\d+")
#: Commands between two looks at their count: the first look itself, and the BGSAVE.
_OF_OURS = 2


@dataclass(frozen=True, slots=True)
class Dump:
    """A finished dump: where it is for the server, how many keys it holds, and how many of them may expire. `save` is
    which of the server's saves it is, by the server's count."""

    path: PurePosixPath
    keys: int
    expiring: int
    server: str
    save: int

    def facts(self) -> dict[str, int | str]:
        return {"keys": self.keys, "expiring": self.expiring, "server": self.server}


def dump(
    platform: Platform, url: str, facts: dict[str, int | str], *, clock: Clock, deadline_seconds: float
) -> Iterator[bytes]:
    """A fresh dump's bytes, whose facts are put into `facts`; it ends without error only when magic and checksum are right.

    Raises SourceError when the server cannot save, DeadlineExceeded when it takes too long, and what the platform raises
    when the file cannot be read. The password in `url` appears in no message.
    """
    deadline = clock.monotonic() + deadline_seconds
    while True:
        found = make_dump(url, clock=clock, deadline_seconds=deadline - clock.monotonic())
        stream = platform.exec(REDIS, ["cat", str(found.path)])
        pieces = iter(stream)
        first = next(pieces, b"")
        # The file is open now. If the server has not saved again, it is the one that was counted.
        if _saves(url) == found.save:
            break
        stream.close()
        if clock.monotonic() > deadline:
            raise DeadlineExceeded(
                "the messenger's Redis saves again faster than its dump can be opened; look at its save points"
            )
    facts.update(found.facts())
    yield from checked(itertools.chain([first], pieces))


def make_dump(url: str, *, clock: Clock, deadline_seconds: float) -> Dump:
    """Has the server save, and waits for it. Raises SourceError when it cannot, DeadlineExceeded when it takes too long."""
    with _asking(url) as client:
        return _make_dump(client, clock, clock.monotonic() + deadline_seconds)


def _saves(url: str) -> int:
    with _asking(url) as client:
        return _count_of_saves(client.info("persistence"))


@contextmanager
def _asking(url: str) -> Iterator[redis.Redis]:
    try:
        client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=30, socket_connect_timeout=10)
    except ValueError:
        raise SourceError("backup.redis_url is no address of a Redis; correct it (it is not shown here)") from None
    try:
        with client:
            yield client
    except redis.RedisError as error:
        raise SourceError(f"the messenger's Redis cannot be dumped: {_reason(error)}; check backup.redis_url") from None


def _make_dump(client: redis.Redis, clock: Clock, deadline: float) -> Dump:
    then = _begin(client, clock, deadline)
    save = _await_saved(client, clock, deadline, then)
    folder, name = (str(client.config_get(key)[key]) for key in ("dir", "dbfilename"))
    databases = [value for key, value in then.items() if _DATABASE.fullmatch(key)]
    return Dump(
        path=PurePosixPath(folder) / name,
        keys=sum(database["keys"] for database in databases),
        expiring=sum(database["expires"] for database in databases),
        server=str(then.get("valkey_version") or then["redis_version"]),
        save=save,
    )


def _begin(client: redis.Redis, clock: Clock, deadline: float) -> dict[str, Any]:
    """Starts a save; returns what the server said of itself at that very moment."""
    while True:
        _await_idle(client, clock, deadline)
        pipeline = client.pipeline(transaction=False)
        pipeline.info()
        pipeline.bgsave()
        pipeline.info()
        before, answer, after = pipeline.execute(raise_on_error=False)
        for error in (before, answer, after):
            # "in progress": another save or rewrite began since we looked.
            if isinstance(error, redis.RedisError) and "progress" not in str(error):
                raise error
        if isinstance(answer, redis.RedisError):
            continue
        if after["total_commands_processed"] - before["total_commands_processed"] == _OF_OURS:
            return dict(before)
        if clock.monotonic() > deadline:
            raise DeadlineExceeded("BGSAVE and the count of keys never came together; look at the load of Redis")


def _await_idle(client: redis.Redis, clock: Clock, deadline: float) -> None:
    """A save that somebody else began must end first, as it may be older than what is asked for; and while the server
    rewrites its append-only file it refuses to save."""
    pause = threading.Event()
    while _is_busy(client.info("persistence")):
        if clock.monotonic() > deadline:
            raise DeadlineExceeded(
                "a BGSAVE or a rewrite that somebody else began does not end; look at the messenger's Redis"
            )
        pause.wait(_POLL_SECONDS)


def _is_busy(persistence: dict[str, Any]) -> bool:
    return bool(persistence["rdb_bgsave_in_progress"] or persistence.get("aof_rewrite_in_progress"))


def _await_saved(client: redis.Redis, clock: Clock, deadline: float, before: dict[str, Any]) -> int:
    pause = threading.Event()
    while True:
        now = client.info("persistence")
        if not now["rdb_bgsave_in_progress"]:
            if now["rdb_last_bgsave_status"] != "ok":
                raise SourceError(
                    "BGSAVE failed in the messenger's Redis; its log says why (a full or read-only disk?)"
                )
            if _count_of_saves(now) > _count_of_saves(before):
                return _count_of_saves(before) + 1 if "rdb_saves" in before else _count_of_saves(now)
        if clock.monotonic() > deadline:
            raise DeadlineExceeded("BGSAVE did not end in time; raise backup.bgsave_seconds or look at Redis")
        pause.wait(_POLL_SECONDS)


def _count_of_saves(persistence: dict[str, Any]) -> int:
    # Servers before 7 do not count their saves; there the time of the last one, in seconds, must do.
    return int(persistence["rdb_saves" if "rdb_saves" in persistence else "rdb_last_save_time"])


def checked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Passes an RDB file through. Raises SourceError at its end where it is none, or not whole."""
    model = anycrc.Model("CRC64-REDIS")
    crc, held, is_first = 0, b"", True
    for piece in pieces:
        held += piece
        if is_first and len(held) >= 9:
            _check_magic(held)
            is_first = False
        body, held = held[:-_CRC_BYTES], held[-_CRC_BYTES:]
        if body:
            crc = model.calc(body, crc)
            yield body
    if is_first or len(held) < _CRC_BYTES:
        raise SourceError("the Redis dump is too short to be one; check dir and dbfilename of the messenger's Redis")
    expected = int.from_bytes(held, "little")
    if expected not in {0, crc}:
        raise SourceError("the Redis dump is damaged: its checksum does not match; dump again and check the disk")
    yield held


def _check_magic(head: bytes) -> None:
    if not any(head.startswith(magic) and head[len(magic) : 9].isdigit() for magic in _MAGIC):
        raise SourceError(
            "the Redis dump does not begin as one does; check dir and dbfilename of the messenger's Redis"
        )


def _reason(error: redis.RedisError) -> str:
    return type(error).__name__ if "@" in str(error) else f"{type(error).__name__}: {error}"
