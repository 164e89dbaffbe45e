"""The security scan in a real cluster, with the rights of its fleet alone: a deployment as it should be has no finding, and a
fault of each kind is found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
import yaml
from scan_ground import MANIFESTS, OF_OBJECTS, Ground, planted, scan_ground

from g3zkp_maint.audit import files, redis, sources
from g3zkp_maint.audit.check import Check
from g3zkp_maint.audit.facts import Facts
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
from g3zkp_maint.testing.cluster_site import ClusterSite

pytestmark = pytest.mark.cluster

_BAD = re.compile(r"\bbad-[a-z0-9-]+")


@pytest.fixture(scope="module")
def ground(
    kubeconfig: Path, namespace: str, coordination: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    with scan_ground(kubeconfig, f"{namespace}-scan", tmp_path_factory.mktemp("scan"), coordination) as found:
        yield found


@pytest.fixture(scope="module")
def platform(cluster_site: ClusterSite) -> KubernetesPlatform:
    return KubernetesPlatform(Access(cluster_site.kubeconfig), namespace=cluster_site.namespace)


def found(checks: tuple[Check[Facts], ...], **parts: object) -> set[tuple[str, str]]:
    facts = Facts(SystemClock().now(), ("g3zkp",), **parts)  # type: ignore[arg-type]
    return {one.key for check in checks for one in check.findings(facts)}


def test_a_deployment_as_it_should_be_has_no_finding(ground: Ground) -> None:
    assert ground.scan() == []


def test_what_an_account_may_not_look_at_is_told_kind_by_kind(ground: Ground) -> None:
    told = {one.object: one.evidence for one in ground.scan("worker-cleanup")}
    assert {f"services in {ground.place}", f"roles in {ground.beside}", "clusterroles of the cluster"} <= told.keys()
    assert "to its Role" in told[f"services in {ground.place}"]
    by_observe = {one.object for one in ground.scan(look_into_files=True, look_into_secret=True, look_into_redis=True)}
    assert by_observe == {"the messenger's key files", "the age of the messenger's keys", "the messenger's Redis"}


def test_a_fault_of_each_kind_is_found_and_nothing_good(ground: Ground) -> None:
    checks = sorted(one.stem for one in MANIFESTS.glob("*.yaml"))
    assert set(checks) == OF_OBJECTS
    ground.apply(one for check in checks for one in planted(check, ground.place))
    findings = ground.scan()
    for check in checks:
        seen = {
            name
            for one in findings
            if one.check == check and (check in one.object or check.startswith("rbac-keys"))
            for name in _BAD.findall(one.object)
        }
        text = (MANIFESTS / f"{check}.yaml").read_text().partition("\n")[2]
        named = {str(one["metadata"]["name"]) for one in yaml.safe_load_all(text)}
        named |= {str(who["name"]) for one in yaml.safe_load_all(text) for who in one.get("subjects", ())}
        expected = {name for name in named if _BAD.fullmatch(name)}
        assert expected <= seen, (check, expected - seen)
        good = [one.object for one in findings if one.check == check and f"{check}-good-" in one.object]
        assert not good, (check, good)


def test_a_key_file_that_others_may_read_is_found_in_the_messengers_pod(
    cluster_site: ClusterSite, platform: KubernetesPlatform
) -> None:
    folder = PurePosixPath("/data/keys")
    key = next((cluster_site.data_dir / "keys").glob("identity-*.json"))

    def look() -> set[tuple[str, str]]:
        return found(files.CHECKS, files=sources.files(platform, folder, seconds=30).value)

    before = look()
    assert not {check for check, _ in before} & {"keys-file-mode", "keys-file-owner", "keys-file-kind"}
    mode = key.stat().st_mode
    key.chmod(0o644)
    try:
        assert look() - before == {("keys-file-mode", f"{folder}/{key.name}")}
    finally:
        key.chmod(mode)


def test_a_redis_that_lost_its_password_is_found_in_its_pod(
    cluster_site: ClusterSite, platform: KubernetesPlatform, coordination: str
) -> None:
    def look() -> set[tuple[str, str]]:
        seen = sources.redis_servers(coordination, platform)
        assert seen.lacks == ()
        return found(redis.CHECKS, redis=tuple(one for one in seen.value if one.name != "broker"))

    def configure(*pairs: str) -> None:
        shell = f"redis-cli config set {' '.join(pairs)}"
        cluster_site.kubectl.exec("redis-0", "sh", "-c", shell)

    assert look() == set()
    # In protected mode a server without a password answers nobody from elsewhere.
    configure("requirepass", "''")
    try:
        assert look() == set()
        configure("protected-mode", "no")
        assert look() == {("redis-no-password", "Redis/messenger-0")}
    finally:
        configure("protected-mode", "yes", "requirepass", '"$REDIS_PASSWORD"')
    assert look() == set()
