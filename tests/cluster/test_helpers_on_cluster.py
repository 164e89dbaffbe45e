"""Helper pods whose owner is gone: whatever ends the owner, no helper stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from restore_desk import wait_for

from g3zkp_maint.errors import PlatformDenied
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
from g3zkp_maint.platforms.kubernetes_helper import HelperOptions
from g3zkp_maint.testing.cluster_site import ClusterSite

pytestmark = pytest.mark.cluster

NAME = "left-behind"
OWNER = """
import sys, pathlib, threading
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
platform = KubernetesPlatform(Access(pathlib.Path(sys.argv[1])), namespace=sys.argv[2])
with platform.helper_pod(sys.argv[3]):
    print("ready", flush=True)
    threading.Event().wait()
"""


def platform_of(site: ClusterSite, **options: int) -> KubernetesPlatform:
    return KubernetesPlatform(Access(site.kubeconfig), namespace=site.namespace, helpers=HelperOptions(**options))


@pytest.fixture
def orphan(cluster_site: ClusterSite) -> Iterator[str]:
    """A helper whose owner was killed."""
    argv = [sys.executable, "-c", OWNER, str(cluster_site.kubeconfig), cluster_site.namespace, NAME]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        assert platform_of(cluster_site).sweep_helpers() == 0
        owner.kill()
    yield NAME
    cluster_site.kubectl("delete", "pod", NAME, "--force", "--grace-period=0", "--ignore-not-found")


def is_there(site: ClusterSite) -> bool:
    return bool(site.kubectl("get", "pod", NAME, "--ignore-not-found", "-o", "name"))


def test_the_next_helper_takes_the_name_of_one_whose_owner_was_killed(cluster_site: ClusterSite, orphan: str) -> None:
    platform = platform_of(cluster_site)
    with platform.helper_pod(orphan) as helper:
        assert platform.exec(helper, ["echo", "here"]).read_all() == b"here\n"
    assert not is_there(cluster_site)


def test_a_helper_of_another_machine_is_swept_when_its_owner_has_not_renewed_it(
    cluster_site: ClusterSite, orphan: str
) -> None:
    platform = platform_of(cluster_site)
    cluster_site.kubectl("annotate", "pod", orphan, "--overwrite", "g3zkp.io/owner=another-machine/boot/pids 1")
    assert platform.sweep_helpers() == 0
    long_ago = "g3zkp.io/renewed-at=2026-01-01T00:00:00+00:00"
    cluster_site.kubectl("annotate", "pod", orphan, "--overwrite", long_ago)
    assert platform.sweep_helpers() == 1
    assert not is_there(cluster_site)


def test_a_helper_that_nobody_sweeps_ends_by_itself_at_its_time_limit(cluster_site: ClusterSite) -> None:
    platform = platform_of(cluster_site, lifetime_seconds=6)
    with platform.helper_pod(NAME):
        wait_for(lambda: phase(cluster_site) in {"Succeeded", "Failed"}, "the helper ends by itself", seconds=30)
    assert not is_there(cluster_site)


def test_a_helper_that_the_namespace_would_refuse_is_told_before_one_is_made(cluster_site: ClusterSite) -> None:
    platform, kubectl = platform_of(cluster_site), cluster_site.kubectl
    platform.check_helper(NAME)
    try:
        kubectl.apply([quota({"limits.cpu": "8"})])  # what has no limit is refused from now on
        wait_for(lambda: refusal(platform), "the server heeds the quota")
        assert "limits.cpu" in refusal(platform)

        kubectl.apply([quota({"pods": "1"})])  # which the workload's own instances use up, and will give back
        new_pod = ("run", "one-more", "--image=busybox", "--dry-run=server")
        wait_for(lambda: b"exceeded quota" in kubectl.run(*new_pod).stderr, "the server heeds the other one")
        platform.check_helper(NAME)
    finally:
        kubectl("delete", "resourcequota", "of-a-test", "--ignore-not-found")
    assert not is_there(cluster_site)


def quota(hard: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "of-a-test"},
        "spec": {"hard": hard},
    }


def refusal(platform: KubernetesPlatform) -> str:
    try:
        platform.check_helper(NAME)
    except PlatformDenied as error:
        return str(error)
    return ""


def phase(site: ClusterSite) -> str:
    return str(site.kubectl.get("pod", NAME)["status"]["phase"])
