"""Restores onto a messenger in the cluster, by real processes of the command line that a test may kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import redis

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination import Journal, connect
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.testing.backup_place import COMPONENTS, BackupPlace
from g3zkp_maint.testing.cluster_site import ClusterSite

SURE = ("--force", "--reason", "a test")
TASK = "crypto.restore"
DEADLINE = 120
_TRY_AGAIN = 75
_HELPERS = "app.kubernetes.io/managed-by=g3zkp-maint"
#: What reads a whole value of a type. A server that was started anew has hashes and sets in another order.
_READERS: dict[bytes, Callable[[redis.Redis, bytes], object]] = {
    b"string": lambda client, key: client.get(key),
    b"hash": lambda client, key: client.hgetall(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    b"stream": lambda client, key: client.xrange(key),
}


@dataclass
class Desk:
    """`coordination` is the URL of a Redis for leases and runs."""

    site: ClusterSite
    place: BackupPlace
    coordination: str
    source: str = "mounted"
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        components = [*COMPONENTS, {"name": "redis", "kind": "redis"}, {"name": "k8s", "kind": "kubernetes"}]
        return {
            **self.place.environment(),
            "G3ZKP_BACKUP__COMPONENTS": json.dumps(components),
            "G3ZKP_BACKUP__MOUNTED_ROOT": str(self.site.data_dir),
            "G3ZKP_BACKUP__SOURCE": self.source,
            "G3ZKP_BACKUP__REDIS_URL": self.site.redis_url,
            "G3ZKP_PLATFORM__KIND": "kubernetes",
            "G3ZKP_PLATFORM__NAMESPACE": self.site.namespace,
            "G3ZKP_PLATFORM__KUBERNETES__KUBECONFIG": str(self.site.kubeconfig),
            "G3ZKP_REDIS__URL": self.coordination,
            "G3ZKP_COORDINATION__LEASE_TTL_SECONDS": "2.5",
            "G3ZKP_COORDINATION__LEASE_RENEW_SECONDS": "0.4",
            "G3ZKP_COORDINATION__MAX_ATTEMPTS": "40",
        }

    # -- commands ------------------------------------------------------------------------------------------------------

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """`g3zkp-maint backup …` as a process of its own."""
        command = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "backup", *args, "--json"]
        environment = {**os.environ, **self.environment()}
        started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.processes.append(started)
        return started

    def run(self, *args: str) -> dict[str, Any]:
        """Its answer. It must succeed."""
        stdout, stderr = self.start(*args).communicate(timeout=DEADLINE)
        assert self.processes[-1].returncode == 0, stderr.decode()
        found: dict[str, Any] = json.loads(stdout)
        return found

    def restore(self, name: str, *args: str) -> dict[str, Any]:
        return self.run("restore", name, *args, "--yes-i-mean", name, *SURE)

    def end_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=10)

    # -- what is seen --------------------------------------------------------------------------------------------------

    def tree(self, *, times_to_ns: int = 1) -> dict[str, tuple[int, int, int, bytes]]:
        """Owner, mode, time and content of each file that is backed up."""
        found = {}
        for folder in ("ipfs", "keys"):
            for path in sorted((self.site.data_dir / folder).rglob("*")):
                if path.is_file():
                    status = path.stat()
                    name = str(path.relative_to(self.site.data_dir))
                    modified = status.st_mtime_ns // times_to_ns
                    found[name] = (status.st_uid, status.st_mode, modified, path.read_bytes())
        return found

    def redis(self, *args: str) -> str:
        return self.site.kubectl.exec(self.redis_pod, "redis-cli", "--no-auth-warning", *args).decode().strip()

    @property
    def redis_pod(self) -> str:
        (pod,) = self.site.pods("redis")
        return pod

    def keys(self) -> dict[bytes, tuple[object, object]]:
        """The content of the server, key for key: its value, and when it expires."""
        with redis.Redis.from_url(self.site.redis_url) as client:
            return {key: (_READERS[client.type(key)](client, key), client.pexpiretime(key)) for key in client.keys("*")}

    def instances(self, workload: str = "deployment/g3zkp-messenger") -> tuple[int, int]:
        found = self.site.kubectl.get(workload)
        return found["spec"]["replicas"], found["status"].get("readyReplicas", 0)

    def helpers(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.site.kubectl.get("pods", "-l", _HELPERS)["items"]]

    @contextmanager
    def watched_replicas(self) -> Iterator[Callable[[], list[int]]]:
        """What it yields tells how many instances of the messenger have been asked for since, one after the other."""
        kubectl = ["kubectl", "--kubeconfig", str(self.site.kubeconfig), "--namespace", self.site.namespace]
        watch = ["get", "deployment/g3zkp-messenger", "--watch", "--output=jsonpath={.spec.replicas}{'\\n'}"]
        with tempfile.NamedTemporaryFile() as said, subprocess.Popen([*kubectl, *watch], stdout=said) as watching:

            def found() -> list[int]:
                return [int(number) for number, _ in groupby(Path(said.name).read_text().split())]

            try:
                wait_for(found, "kubectl watches")
                yield found
                assert watching.poll() is None, "kubectl has seen all of it"
            finally:
                watching.kill()

    def begun(self, step: str, run: str) -> bool:
        journal = Journal(connect(self.coordination), clock=SystemClock(), cap=10_000)
        events = (record.event for record in journal.read(task=TASK))
        return any((one.event, one.step, one.slot) == ("started", step, run) for one in events)


class ByHand:
    """One restore, by as many processes as it takes."""

    def __init__(self, desk: Desk, name: str, *args: str) -> None:
        self._desk = desk
        before = self._runs()
        self._process = desk.start("restore", name, *args, "--yes-i-mean", name, *SURE)
        wait_for(lambda: self._is_at_work() and self._runs() != before, "a restore is on record")
        (self.run,) = self._runs() - before
        self.deaths = 0

    def kill_when(self, condition: Callable[[], object], what: str) -> None:
        """Waits, going on with it where it must, and kills whoever is at it."""
        wait_for(lambda: self._resumed() and condition(), what)
        self._process.kill()
        self._process.communicate(timeout=10)
        self.deaths += 1

    def kill_in(self, step: str) -> None:
        self.kill_when(lambda: self._desk.begun(step, self.run), f"step {step} begins")

    def reported(self, object: str) -> bool:
        """Whether the restore has come to that object of the cluster, and changes it."""
        checkpoint = RedisCheckpoint(connect(self._desk.coordination), f"{TASK}:{self.run}", keep_days=1)
        return f"object {object}" in checkpoint.load()

    def finish(self) -> dict[str, Any]:
        wait_for(lambda: self._resumed().poll() == 0, "the restore comes to its end")
        found: dict[str, Any] = json.loads(self._process.communicate(timeout=10)[0])
        return found

    def _runs(self) -> set[str]:
        journal = Journal(connect(self._desk.coordination), clock=SystemClock(), cap=10_000)
        return {record.event.slot for record in journal.read(task=TASK)}

    def _is_at_work(self) -> bool:
        if self._process.poll() in {None, 0}:
            return True
        raise AssertionError(self._process.communicate(timeout=10)[1].decode())

    def _resumed(self) -> subprocess.Popen[bytes]:
        """The process; another one where it was killed, or came before the lease of the killed one had run out."""
        code = self._process.poll()
        if code == _TRY_AGAIN or (code is not None and code < 0):
            self._process.communicate(timeout=10)
            self._process = self._desk.start("restore", "--resume", self.run)
        elif code:
            raise AssertionError(f"the restore ended with {code}: {self._process.communicate(timeout=10)[1].decode()}")
        return self._process


def wait_for(condition: Callable[[], object], what: str, *, seconds: float = DEADLINE) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.05)


@contextmanager
def open_desk(site: ClusterSite, folder: Path, coordination: str) -> Iterator[Desk]:
    """With data in the messenger and in its Redis, 500 keys; `folder` is a new one for keys and store."""
    desk = Desk(site, BackupPlace.make(folder), coordination)
    # An address leads to a new pod some moments after that is ready.
    wait_for(lambda: answers(site.redis_url), "the address of Redis leads there")
    site.seed("8M", redis_keys=500)
    try:
        yield desk
    finally:
        desk.end_all()


def answers(url: str) -> bool:
    """Whether a Redis does. Where pods come and go an address leads nowhere for a moment, or to another pod."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError, redis.InvalidResponse):
        return False
