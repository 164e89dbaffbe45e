"""The messenger's Redis in a real cluster: dumped as an ACL user and in bad moments, restored however it keeps its data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from restore_desk import Desk, answers, wait_for

from g3zkp_maint.backup.redis_dump import checked, dump
from g3zkp_maint.backup.redis_restore import DumpSource, RedisRestore, read_layout
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import SourceError
from g3zkp_maint.platforms.base import REDIS
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
from g3zkp_maint.testing import messenger_manifests as manifests
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


def test_a_file_name_that_was_changed_while_it_runs_is_the_one_that_is_read(desk: Desk, client: redis.Redis) -> None:
    _deploy(desk.site, SiteOptions(redis_arguments=("--enable-protected-configs", "yes")))
    client.config_set("dbfilename", "changed while it ran.rdb")
    raw, facts = taken(desk.site)
    assert facts["keys"] == client.dbsize()
    assert (desk.site.redis_dir / "changed while it ran.rdb").read_bytes() == raw
    assert read_layout(desk.site.redis_url).dump == "changed while it ran.rdb"


@pytest.fixture(scope="module", autouse=True)
def _left_as_it_was(desk: Desk) -> Iterator[None]:
    yield
    _deploy(desk.site, desk.site.options)
    with redis.Redis.from_url(desk.site.redis_url) as connection:
        connection.mset({f"later:{number}": number for number in range(500)})


#: With append-only files it is restored in test_restore_on_cluster.py.
DEPLOYED = {
    "a StatefulSet, save points": SiteOptions(appendonly=False, redis_arguments=("--save", "3600 1")),
    "a Deployment, no save points": SiteOptions(
        appendonly=False, redis_arguments=("--save", ""), redis_kind="Deployment"
    ),
}


@pytest.mark.parametrize("deployed", DEPLOYED)
def test_it_comes_back_key_for_key_however_it_keeps_its_data(desk: Desk, client: redis.Redis, deployed: str) -> None:
    _deploy(desk.site, DEPLOYED[deployed])
    client.mset({f"key:{number}": number for number in range(300)})
    before = desk.keys()
    raw, facts = taken(desk.site)
    layout = read_layout(desk.site.redis_url)
    client.flushall()
    client.set("what came later", 1)
    assert _restored(desk.site, raw, facts, layout) == len(before)
    assert desk.keys() == before
    assert not desk.helpers()
    assert not [path.name for path in desk.site.redis_dir.rglob("*") if "g3zkp" in path.name]
    found = (desk.site.redis_dir / "dump.rdb").stat()
    assert (found.st_uid, found.st_gid) == (REDIS_UID, REDIS_UID)


def _restored(site: ClusterSite, raw: bytes, facts: dict[str, int | str], layout: Any) -> int:
    work = RedisRestore(
        platform_of(site),
        SystemClock(),
        Unguarded(),
        site.redis_url,
        "/data",
        "a-run",
        stop_seconds=120,
        start_seconds=120,
        remember=lambda _: None,
    )
    source = DumpSource(lambda: checked([raw]), len(raw), int(facts["keys"]), int(facts["expiring"]))
    return work.carry_out(source, layout, replicas=1)


def _deploy(site: ClusterSite, options: SiteOptions) -> None:
    """The server anew, as `options` have it. The former pod is waited for: of one that was removed by force the kubelet goes on
    ending what is left, for a minute at times, and the next has its name."""
    for kind in ("statefulset", "deployment"):
        site.kubectl("delete", kind, "redis", "--ignore-not-found", "--cascade=orphan")
    site.kubectl("delete", "replicasets", "-l", "app=redis", "--cascade=orphan")
    site.kubectl("delete", "pods", "-l", "app=redis", "--grace-period=1", "--wait=true")
    site.kubectl.apply(manifests.redis(options, site.redis_password))
    platform_of(site).wait_scaled(REDIS, 120)
    wait_for(lambda: answers(site.redis_url), "the address of Redis leads there")
