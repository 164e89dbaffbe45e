"""The messenger's Redis in a real cluster: dumped as an ACL user and in bad moments, restored however it keeps its data."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from restore_desk import Desk, wait_for

from g3zkp_maint.backup.redis_dump import checked, dump
from g3zkp_maint.backup.redis_restore import DumpSource, RedisRestore, read_layout
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import SourceError
from g3zkp_maint.platforms.base import REDIS
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
from g3zkp_maint.testing.cluster_site import ClusterSite
from g3zkp_maint.testing.messenger_manifests import REDIS_UID, SiteOptions

pytestmark = pytest.mark.cluster

#: What a user needs for backups and restores, and no more.
RIGHTS = ("+info", "+bgsave", "+config|get")
ACL_PASSWORD = "another-secret"


def platform_of(site: ClusterSite) -> KubernetesPlatform:
    return KubernetesPlatform(Access(site.kubeconfig), namespace=site.namespace)


def taken(site: ClusterSite, url: str = "") -> tuple[bytes, dict[str, int | str]]:
    facts: dict[str, int | str] = {}
    pieces = dump(platform_of(site), url or site.redis_url, facts, clock=SystemClock(), deadline_seconds=60)
    return b"".join(pieces), facts


@pytest.fixture
def client(desk: Desk) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(desk.site.redis_url) as client:
        yield client


def test_a_user_with_three_rights_dumps_it_and_the_dump_is_of_all_keys(desk: Desk, client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "backup", "reset", "on", f">{ACL_PASSWORD}", *RIGHTS)
    url = desk.site.redis_url.replace(f":{desk.site.redis_password}@", f"backup:{ACL_PASSWORD}@")
    raw, facts = taken(desk.site, url)
    assert facts["keys"] == client.dbsize()
    assert b"".join(checked([raw])) == raw
    assert read_layout(url).folder == "/data"
    client.execute_command("ACL", "SETUSER", "backup", "-bgsave")
    with pytest.raises(SourceError, match="permission") as refused:
        taken(desk.site, url)
    assert ACL_PASSWORD not in str(refused.value)


def test_a_dump_on_a_disk_that_cannot_be_written_is_an_error_and_no_old_dump(desk: Desk, client: redis.Redis) -> None:
    client.save()
    desk.site.redis_dir.chmod(0o555)
    shutil.chown(desk.site.redis_dir, 0, 0)
    try:
        with pytest.raises(SourceError, match="BGSAVE failed"):
            taken(desk.site)
    finally:
        desk.site.redis_dir.chmod(0o755)
        shutil.chown(desk.site.redis_dir, REDIS_UID, REDIS_UID)
    assert taken(desk.site)[1]["keys"] == client.dbsize()


def test_a_save_of_another_is_waited_for_and_is_not_the_one_that_is_read(desk: Desk, client: redis.Redis) -> None:
    client.config_set("rdb-key-save-delay", 2000)
    client.bgsave()
    client.set("after that save began", 1)
    raw, facts = taken(desk.site)
    client.config_set("rdb-key-save-delay", 0)
    assert b"after that save began" in raw
    assert facts["keys"] == client.dbsize()
    client.delete("after that save began")


CONFIGS: dict[str, tuple[str, ...]] = {
    "append-only, with save points": ("--save", "3600 1"),
    "save points, no append-only": ("--appendonly", "no", "--save", "3600 1"),
    "neither": ("--appendonly", "no", "--save", ""),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_it_comes_back_key_for_key_however_it_keeps_its_data(desk: Desk, config: str) -> None:
    _start_with(desk, "--enable-protected-configs", "yes", *CONFIGS[config])
    with redis.Redis.from_url(desk.site.redis_url) as client:
        if client.dbsize() == 0:
            client.mset({f"key:{number}": number for number in range(300)})
        before = desk.keys()
        # What ends with the server must not mislead.
        client.config_set("dbfilename", "changed while it ran.rdb")
        raw, facts = taken(desk.site)
        layout = read_layout(desk.site.redis_url)
        client.flushall()
        client.set("what came later", 1)
    keys = _restored(desk.site, raw, facts, layout)
    assert keys == len(before)
    assert desk.keys() == before
    assert not desk.helpers()
    assert not [path.name for path in desk.site.redis_dir.rglob("*") if "g3zkp" in path.name]
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in desk.site.redis_dir.rglob("*.rdb")}
    assert owners == {(REDIS_UID, REDIS_UID)}


def test_of_a_deployment_it_is_the_same(another_site: Callable[..., ClusterSite]) -> None:
    site = another_site("redis", SiteOptions(replicas=1, redis_kind="Deployment"))
    with redis.Redis.from_url(site.redis_url) as client:
        wait_for(lambda: _answers(client), "the address of Redis leads there")
        client.mset({f"key:{number}": number for number in range(300)})
        raw, facts = taken(site)
        layout = read_layout(site.redis_url)
        client.flushall()
    assert _restored(site, raw, facts, layout) == 300
    with redis.Redis.from_url(site.redis_url) as client:
        assert client.get("key:17") == b"17"


def _restored(site: ClusterSite, raw: bytes, facts: dict[str, int | str], layout: Any) -> int:
    work = RedisRestore(
        platform_of(site),
        SystemClock(),
        Unguarded(),
        site.redis_url,
        "/data",
        "a-run",
        stop_seconds=60,
        start_seconds=60,
        remember=lambda _: None,
    )
    source = DumpSource(lambda: checked([raw]), len(raw), int(facts["keys"]), int(facts["expiring"]))
    return work.carry_out(source, layout, replicas=1)


def _start_with(desk: Desk, *arguments: str) -> None:
    """The server anew, with other arguments and what it had."""
    container = desk.site.kubectl.get("statefulset/redis")["spec"]["template"]["spec"]["containers"][0]
    password = container["args"][:2]
    path = "/spec/template/spec/containers/0/args"
    change = [{"op": "replace", "path": path, "value": [*password, *arguments]}]
    platform = platform_of(desk.site)
    platform.client.json_patch(platform.client.path("statefulsets", "redis", api="apps/v1"), change)
    platform.wait_scaled(REDIS, 60)
    with redis.Redis.from_url(desk.site.redis_url) as client:
        wait_for(lambda: _answers(client), "the address of Redis leads there")


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False
