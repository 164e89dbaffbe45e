"""A real Redis of this machine that is scaled to nothing and back as a workload is, and commands beside it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from g3zkp_maint.platforms.base import REDIS, ExecStream
from g3zkp_maint.platforms.local_exec import LocalExec

DEADLINE = 30


class RedisHere:
    """As much of a platform as a restore of Redis asks for; `program` is started with `options`, in `folder`. `commands`
    is the PATH of commands that run beside it."""

    def __init__(self, program: str, folder: Path, options: Mapping[str, str], commands: str = "") -> None:
        self.folder = folder
        self.commands = commands or os.environ["PATH"]
        self.starts = 0
        self._argv = [program, *(word for name, value in options.items() for word in (f"--{name}", value))]
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def client(self, db: int = 0) -> redis.Redis:
        return redis.Redis(port=self._port, db=db)

    # -- the platform's part -------------------------------------------------------------------------------------------

    def exec(self, workload: str, argv: Sequence[str], stdin: Iterable[bytes] | None = None) -> ExecStream:
        assert workload == "helper" or self._process is not None
        return LocalExec(argv, workload=workload, env={"PATH": self.commands}, cwd=Path("/"), stdin=stdin)

    @contextmanager
    def helper_pod(self, name: str, *, of: str) -> Iterator[str]:
        assert (of, self._process) == (REDIS, None), f"{name}: the server must be gone first"
        yield "helper"

    def scale(self, workload: str, replicas: int) -> None:
        assert workload == REDIS
        if replicas == 0:
            self.stop()
        elif self._process is None:
            self.start()

    def wait_scaled(self, workload: str, deadline_seconds: float) -> None:
        assert (workload, deadline_seconds > 0) == (REDIS, True)

    # -- the test's part -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.starts += 1
        argv = [*self._argv, "--port", str(self._port), "--dir", str(self.folder)]
        self._process = subprocess.Popen(argv, cwd=self.folder, stdout=subprocess.DEVNULL)

    def started(self) -> RedisHere:
        self.start()
        until = time.monotonic() + DEADLINE
        while True:
            try:
                with self.client() as client:
                    if not client.info("persistence")["loading"]:
                        return self
            except redis.ConnectionError:
                assert time.monotonic() < until, "the server does not come up"
            time.sleep(0.01)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(DEADLINE)
            self._process = None

    def fill(self, keys: int = 500) -> None:
        with self.client() as client:
            client.mset({f"key-{number}": os.urandom(50) for number in range(keys - 4)})
            client.set("large", os.urandom(3 << 20))
            client.rpush("list", "a", "b")
            client.hset("hash", "field", b"\xff")
        with self.client(db=3) as other:
            other.set("in another database", 1, ex=86_400)

    def contents(self) -> dict[tuple[int, bytes], object]:
        found: dict[tuple[int, bytes], object] = {}
        for db in (0, 3):
            with self.client(db=db) as client:
                found |= {(db, key): client.dump(key) for key in client.keys("*")}
        return found

    def leftovers(self) -> list[str]:
        """What a restore has left under names of its own."""
        return sorted(path.name for path in self.folder.rglob("*") if ".g3zkp-" in path.name)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
