"""Fleets for tests: a broker with a password, real worker processes, a store and a data folder, all of one test."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.unpack import Unpacker
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.coordination.journal import JournalEvent
from g3zkp_maint.coordination.run_record import RunRecord, RunState
from g3zkp_maint.keys.material import KeyMaterial, generate
from g3zkp_maint.settings import load
from g3zkp_maint.stack import ports
from g3zkp_maint.stack.environment import Access, fleet_environment
from g3zkp_maint.stack.first_start import ensure_password
from g3zkp_maint.stack.probe import RedisProbe
from g3zkp_maint.stack.valkey import configuration as valkey_configuration
from g3zkp_maint.stack.valkey import valkey_binary
from g3zkp_maint.testing.running_stack import RunningStack
from workers.app import configuration

ROOT = Path(__file__).parents[3]
FILES = '{"name":"ipfs","kind":"files","path":"ipfs"},{"name":"keys","kind":"files","path":"keys"}'
#: Short enough to see a lease run out, long enough for two busy cores.
TIMES = {
    "G3ZKP_COORDINATION__LEASE_TTL_SECONDS": "3",
    "G3ZKP_COORDINATION__LEASE_RENEW_SECONDS": "0.5",
    "G3ZKP_COORDINATION__RETRY_SECONDS": "0.5",
    "G3ZKP_COORDINATION__HANDOFF_SECONDS": "4",
    "G3ZKP_COORDINATION__MAX_ATTEMPTS": "10",
    "G3ZKP_COORDINATION__GRACE_SECONDS": "3",
    # Tests open their own: none may end otherwise on a Sunday at three.
    "G3ZKP_WINDOWS__RECURRING": "[]",
}
MIB = 1 << 20
#: Of what each worker said at the end of a test that failed.
_SHOWN_LINES, _SHOWN_COLUMNS = 60, 400


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 30, pause: float = 0.02) -> Any:
    """What the condition came to; an AssertionError past the deadline."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(pause)
    return found


@dataclass
class Broker:
    """A Valkey as the stack configures its own: with a password, and durable."""

    folder: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        conf = self.folder / "valkey.conf"
        conf.write_text(
            valkey_configuration(
                port=self.port, data=self.folder, password=self.password, appendfsync="always", snapshots=False
            )
        )
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([valkey_binary(), conf], stdout=log, stderr=log, start_new_session=True)
        wait_until(RedisProbe(self.port, self.password).is_ready, "Valkey answers")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


@dataclass
class Worker:
    """A worker with its pool, in a process group of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def said(self) -> str:
        return self.log.read_text()

    def told(self, event: str) -> list[dict[str, Any]]:
        """What its log has of these events."""
        lines = [json.loads(line) for line in self.said().splitlines() if f'"{event}"' in line]
        return [line for line in lines if line["event"] == event]

    def signal(self, number: signal.Signals) -> None:
        """To the parent and all of its pool."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait(10)


class Fleet:
    """One test's world: its workers get `settings`, and `services` sees all of it, as an operator with the recovery key
    would. `private` are texts that no worker may show."""

    def __init__(self, folder: Path, settings: dict[str, str], *, private: Sequence[str] = ()) -> None:
        self.folder = folder
        self.settings = settings
        self.private = private
        self.data = Path(settings["G3ZKP_BACKUP__MOUNTED_ROOT"])
        self.store = Path(settings["G3ZKP_STORE__DIRECTORY__PATH"])
        self.workers: list[Worker] = []
        self._sent: list[AsyncResult] = []
        self.services = self._services()
        self.client = Celery("client", set_as_current=False)
        self.client.conf.update({**configuration(self.services.settings), "g3zkp_beat_announce": None})

    def _services(self) -> Services:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.settings.items():
                patch.setenv(name, value)
            return Services(load())

    # -- workers -------------------------------------------------------------------------------------------------------

    def worker(self, queues: str = "backup", *, concurrency: int = 2, **settings: str) -> Worker:
        """Starts a worker by the ordinary command and returns it when it is ready; only crypto gets the recovery key."""
        number = len(self.workers) + 1
        log = self.folder / f"worker{number}.log"
        environment = {**self.environment(), **settings}
        if "crypto" not in queues:
            del environment["G3ZKP_KEYS__RECOVERY_IDENTITY"]
        argv = ["worker", "-Q", queues, "-n", f"worker{number}@%h", "--concurrency", str(concurrency)]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "workers.app", *argv, "--without-gossip", "--without-mingle"],
                env=environment,
                cwd=ROOT,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        wait_until(lambda: " ready." in worker.said(), f"the worker is ready; it said: {log}", pause=0.05)
        return worker

    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.settings, "PYTHONPATH": str(ROOT)}

    def shell(self, code: str) -> subprocess.CompletedProcess[str]:
        """Runs Python code in a shell that sees the settings, as an operator's does."""
        return subprocess.run(
            [sys.executable, "-c", code],
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            # Shown by pytest where the test has failed.
            print(f"-- the end of {worker.log}")
            print("\n".join(line[:_SHOWN_COLUMNS] for line in worker.said().splitlines()[-_SHOWN_LINES:]))
        for result in self._sent:
            # Else it would unsubscribe when it is collected, from a broker that is no more.
            result.backend = None
        self.client.close()
        self.services.redis.close()

    # -- what is run ---------------------------------------------------------------------------------------------------

    def send(self, task: str, *args: Any, **kwargs: Any) -> AsyncResult:
        self._sent.append(self.client.send_task(task, args=args, kwargs=kwargs))
        return self._sent[-1]

    def reaped(self, result: AsyncResult, *, seconds: float = 40) -> Any:
        """The result, with the reaper running as often as the calendar would make it."""
        self.reap_until(result.ready, "the run ends", seconds=seconds)
        return result.get(timeout=5)

    def reap_until(self, condition: Callable[[], Any], what: str, *, seconds: float = 40) -> None:
        next_reap = time.monotonic()

        def reap_and_look() -> Any:
            nonlocal next_reap
            if time.monotonic() >= next_reap:
                self.client.send_task("observe.reap", ignore_result=True)
                next_reap += 0.3
            return condition()

        wait_until(reap_and_look, f"{what}; {self.told()}", seconds=seconds, pause=0.002)

    def told(self) -> str:
        return f"records {self.services.runs.recent()}, logs in {self.folder}"

    def record(self, task: str, slot: str) -> RunRecord | None:
        return self.services.runs.get(task, slot)

    def is_state(self, state: RunState, task: str, slot: str) -> bool:
        record = self.record(task, slot)
        return record is not None and record.state is state

    def events(self, **wanted: str) -> list[JournalEvent]:
        """The journal, oldest first, of those events whose fields are as wanted."""
        found = [record.event for record in self.services.journal.read()]
        return [one for one in found if all(getattr(one, name) == value for name, value in wanted.items())]

    # -- data and backups ----------------------------------------------------------------------------------------------

    def fill(self, mebibytes: int, *, files_each: int = 1) -> None:
        """Random data, in files of a MiB or of a part of one."""
        for number in range(mebibytes):
            folder = self.data / "ipfs" / f"{number % 50:02d}"
            folder.mkdir(exist_ok=True)
            for part in range(files_each):
                (folder / f"{number}-{part}").write_bytes(os.urandom(MIB // files_each))

    def markers(self) -> dict[str, bytes]:
        """Of the shards that are done: which, and what their markers say."""
        return {path.name: path.read_bytes() for path in self.store.rglob("*.done.json")}

    def manifests(self) -> list[Path]:
        return sorted(self.store.rglob("MANIFEST.json"))

    def manifest(self, name: str) -> Manifest:
        return self.services.repository.manifest(name)

    def assert_restorable(self, name: str) -> None:
        """Every file of the backup is, restored to another folder, what is in the data folder now."""
        target = self.folder / f"restored-{secrets.token_hex(4)}"
        unpacker = Unpacker(self.services.repository, MountedTarget(target), Unguarded())
        for component in self.manifest(name).components:
            unpacker.unpack(self.manifest(name), component.name)
        compared = subprocess.run(
            ["diff", "--recursive", "--brief", self.data, target], capture_output=True, text=True, check=False
        )
        assert compared.returncode == 0, compared.stdout


def small_fleet(folder: Path, broker: Broker) -> Fleet:
    """With a data folder and a store of its own; no messenger runs."""
    for name in ("store", "data/ipfs", "data/keys"):
        (folder / name).mkdir(parents=True)
    (folder / "data/keys/one.key").write_text("not a real key")
    keys = generate()
    settings = {
        **TIMES,
        **_key_files(folder, keys),
        "G3ZKP_REDIS__URL": broker.url,
        "G3ZKP_STORE__DIRECTORY__PATH": str(folder / "store"),
        "G3ZKP_PLATFORM__STATE_DIR": str(folder / "state"),
        "G3ZKP_MESSENGER__APPEND_BACKUP_LOG": "false",
        "G3ZKP_BACKUP__MOUNTED_ROOT": str(folder / "data"),
        "G3ZKP_BACKUP__COMPONENTS": f"[{FILES}]",
        "G3ZKP_BACKUP__SHARD_BYTES": str(4 * MIB),
    }
    private = (keys.recovery_identity, keys.manifest_identity, keys.backup_signing_key)
    lines = [line for text in private for line in text.splitlines() if not line.startswith(("#", "-----"))]
    return Fleet(folder, settings, private=[broker.password, *lines])


def _key_files(folder: Path, keys: KeyMaterial) -> dict[str, str]:
    files = {
        "RECIPIENTS": keys.recipients,
        "TRUSTED_SIGNERS": keys.trusted_signers,
        "MANIFEST_IDENTITY": keys.manifest_identity,
        "SIGNING_KEY": keys.backup_signing_key,
        "RECOVERY_IDENTITY": keys.recovery_identity,
    }
    settings = {}
    for name, text in files.items():
        path = folder / name.lower()
        path.touch(0o600)
        path.write_text(text)
        settings[f"G3ZKP_KEYS__{name}"] = str(path)
    return settings


def stack_fleet(folder: Path, stack: RunningStack) -> Fleet:
    """For a stack that runs without fleets: its messenger, its Redis, its broker and its keys."""
    chosen = ports.load(stack.layout.ports)
    assert chosen is not None
    access = Access(
        chosen,
        redis_password=ensure_password(stack.layout.redis_data.parent),
        coordination_password=ensure_password(stack.layout.coordination.parent),
    )
    own = fleet_environment(stack.layout, "crypto", access)
    return Fleet(folder, {**own, **TIMES, "G3ZKP_BACKUP__COMPONENTS": f'[{FILES},{{"name":"redis","kind":"redis"}}]'})
