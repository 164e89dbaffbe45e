"""What the tests of beat work with: processes, a clock moved by hand, and a look into the queue."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

QUEUE = "observed"
LOCK_SECONDS = 3
HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def wait_for(what: str, condition: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.05)


class Published:
    """What lies in the queue, oldest first: nobody takes anything out."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def messages(self) -> list[dict[str, object]]:
        return [_decoded(raw) for raw in reversed(self.client.lrange(QUEUE, 0, -1))]

    def slots(self) -> list[str]:
        return [str(message["slot"]) for message in self.messages()]

    def count_of(self, pid: int) -> int:
        """How many messages that process sent; Celery writes its sender into each."""
        origins = [str(message["headers"]["origin"]) for message in self.messages()]  # type: ignore[index]
        return sum(origin.startswith(f"gen{pid}@") for origin in origins)

    def leader_pid(self) -> int | None:
        leader = self.client.hget("g3zkp:beat:tick", "leader")
        return int(leader.split(":")[-2]) if leader else None


def _decoded(raw: str) -> dict[str, object]:
    message = json.loads(raw)
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    return {"args": args, **kwargs, "headers": message["headers"]}


class BeatProcess:
    """`celery -A beat_app beat`, as an operator starts it."""

    def __init__(self, url: str, folder: Path, name: str) -> None:
        self.log = folder / f"{name}.log"
        env = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(folder), str(HERE), str(ROOT)]),
            "G3ZKP_REDIS__URL": url,
            "G3ZKP_BEAT__CALENDAR": "short_calendar",
            "G3ZKP_BEAT__LOOP_SECONDS": "0.5",
            "G3ZKP_BEAT__LOCK_SECONDS": str(LOCK_SECONDS),
        }
        command = [sys.executable, "-m", "celery", "-A", "beat_app", "beat", "--loglevel", "INFO"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def is_running(self) -> bool:
        return self.process.poll() is None


class HandClock:
    """A clock that a test moves by hand. Monotonic time follows the wall clock."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def move(self, **by: float) -> None:
        self._now += timedelta(**by)

    def set(self, *moment: int) -> None:
        self._now = datetime(*moment, tzinfo=UTC)  # type: ignore[misc]


Announced = list[tuple[str, str, dict[str, object]]]
