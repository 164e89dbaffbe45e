"""Restores as the crypto fleet runs them: confirmed, killed at every step, stopped and overtaken."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from running_fleet import Fleet, wait_until

from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.errors import BadInput, ConfirmationRequired, OutsideWindow
from g3zkp_maint.platforms.base import MESSENGER

pytestmark = pytest.mark.integration

RESTORE = "crypto.restore"
SLOT = "a-disaster"
QUEUES = "backup,crypto,observe"
WISH: dict[str, Any] = {"slot": SLOT, "force": True, "reason": "a test"}


@contextmanager
def _messengers_redis(fleet: Fleet) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(fleet.settings["G3ZKP_BACKUP__REDIS_URL"], decode_responses=True) as client:
        yield client


def _backed_up(fleet: Fleet, mebibytes: int, copy: Path) -> str:
    """Fills the messenger, takes a full backup, keeps a copy of the data; then comes the disaster."""
    for name in ("ipfs", "keys"):
        (fleet.data / name).mkdir(exist_ok=True)
    fleet.fill(mebibytes)
    with _messengers_redis(fleet) as client:
        client.mset({f"key:{number}": number for number in range(500)})
    name = str(fleet.send("backup.run", "full").get(timeout=60)["name"])
    shutil.copytree(fleet.data / "ipfs", copy)
    shutil.rmtree(fleet.data / "ipfs" / "00")
    (fleet.data / "ipfs" / "01" / "1-0").write_bytes(b"changed")
    (fleet.data / "ipfs" / "unknown").write_bytes(b"new")
    with _messengers_redis(fleet) as client:
        client.flushall()
    return name


def _assert_as_before(fleet: Fleet, copy: Path) -> None:
    compared = subprocess.run(
        ["diff", "--recursive", "--brief", fleet.data / "ipfs", copy], capture_output=True, text=True, check=False
    )
    assert compared.returncode == 0, compared.stdout
    with _messengers_redis(fleet) as client:
        assert client.dbsize() == 500
        assert client.get("key:17") == "17"
    running = {one.name: (one.desired, one.ready) for one in fleet.services.platform.workloads()}
    assert running[MESSENGER] == (1, 1)


def _has_begun(fleet: Fleet, step: str) -> bool:
    return bool(fleet.events(task=RESTORE, step=step, event="started"))


def test_a_restore_killed_at_every_step_is_taken_up_each_time_and_brings_all_back(
    messenger_fleet: Fleet, tmp_path: Path
) -> None:
    fleet = messenger_fleet
    fleet.settings |= {"G3ZKP_COORDINATION__MAX_ATTEMPTS": "12", "G3ZKP_COORDINATION__LEASE_TTL_SECONDS": "2.5"}
    worker = fleet.worker(QUEUES)
    name = _backed_up(fleet, 100, tmp_path / "copy")
    with pytest.raises(OutsideWindow, match="force and a reason"):
        fleet.send(RESTORE, name).get(timeout=30)
    with pytest.raises(ConfirmationRequired, match="confirm it with the token") as refused:
        fleet.send(RESTORE, name, confirm="wrong", force=True, reason="a test").get(timeout=30)
    assert not _has_begun(fleet, "stop")

    token = str(refused.value).split()[-1]
    another = RedisCheckpoint(fleet.services.redis, f"{RESTORE}:another", keep_days=1)
    another.save(options={"backup": "g3zkp_full_20000101_000000"})
    with pytest.raises(BadInput, match="give another slot"):
        fleet.send(RESTORE, name, confirm=token, **{**WISH, "slot": "another"}).get(timeout=30)

    result = fleet.send(RESTORE, name, confirm=token, **WISH)
    for step in ("check", "safety", "stop", "files", "redis", "start"):
        fleet.reap_until(lambda step=step: _has_begun(fleet, step), f"step {step} begins")
        worker.kill()
        worker = fleet.worker(QUEUES)
    told = fleet.reaped(result)
    assert (told["backup"], told["redis_keys"]) == (name, 500)
    assert fleet.manifest(told["safety"]).name == told["safety"]
    assert len(fleet.manifests()) == 2
    assert len(fleet.events(task=RESTORE, step="", event="finished")) == 1
    _assert_as_before(fleet, tmp_path / "copy")


def test_a_restore_overtaken_while_its_worker_was_stopped_touches_nothing_more(
    messenger_fleet: Fleet, tmp_path: Path
) -> None:
    fleet = messenger_fleet
    first = fleet.worker(QUEUES)
    name = _backed_up(fleet, 300, tmp_path / "copy")
    shutil.rmtree(fleet.data / "ipfs")
    token = fleet.send("crypto.plan_restore", name).get(timeout=30)["token"]
    result = fleet.send(RESTORE, name, confirm=token, safety=False, **WISH)
    wait_until(lambda: sum(1 for _ in (fleet.data / "ipfs").rglob("*-0")) > 20, "files come back", pause=0.001)
    first.signal(signal.SIGSTOP)
    assert sum(1 for _ in (fleet.data / "ipfs").rglob("*-0")) < 300

    second = fleet.worker(QUEUES)
    assert fleet.reaped(result)["backup"] == name
    second.kill()
    _assert_as_before(fleet, tmp_path / "copy")
    before = _identities(fleet.data)
    first.signal(signal.SIGCONT)
    wait_until(lambda: "task-gave-way" in first.said(), "the first gives way")
    assert fleet.send("backup.verify", name).get(timeout=30)["name"] == name
    assert _identities(fleet.data) == before
    _assert_as_before(fleet, tmp_path / "copy")


def _identities(folder: Path) -> dict[Path, tuple[int, int, int]]:
    stats = {path: path.lstat() for top in ("ipfs", "keys") for path in (folder / top).rglob("*")}
    return {path: (found.st_ino, found.st_mtime_ns, found.st_ctime_ns) for path, found in stats.items()}
