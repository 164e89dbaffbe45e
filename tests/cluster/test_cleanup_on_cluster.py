"""Cleanup in a real cluster: through exec in a pod, which ends with its caller, and what is left over in the namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from g3zkp_maint.cleanup import step as steps
from g3zkp_maint.cleanup.housekeeping import tidy
from g3zkp_maint.cleanup.plan import Backed, CleanupPlan, CleanupRequest, plan
from g3zkp_maint.cleanup.step import CleanupSite
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import LeaseLost, MessengerCallFailed, MessengerUnfit
from g3zkp_maint.messenger_call import call
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
from g3zkp_maint.platforms.kubernetes_housekeeping import KubernetesHousekeeping
from g3zkp_maint.settings import Cleanup
from g3zkp_maint.testing.cluster_site import ClusterSite
from g3zkp_maint.testing.running_stack import wait_for

pytestmark = pytest.mark.cluster

_FILL = """
const data = require('@g3zkp/data');
const { touchSession } = require('@g3zkp/crypto/sessions');
const now = Date.now(), day = 86400000;
for (const kind of ['messages', 'proofs'])
  await data.appendRecords(kind, [31, 31, 31, 1].map((days) => ({ createdAt: now - days * day, body: 'x'.repeat(900) })));
for (const days of [2, 2, 0]) await touchSession('cleanup-peer' + days + Math.random(), { now: now - days * day });
"""


@pytest.fixture(scope="module")
def platform(cluster_site: ClusterSite) -> KubernetesPlatform:
    return KubernetesPlatform(Access(cluster_site.kubeconfig), namespace=cluster_site.namespace)


def _planned() -> CleanupPlan:
    now = SystemClock().now()
    return plan(Cleanup(), CleanupRequest(), begun=now, now=now, newest=Backed("g3zkp_full_x", now))


def test_what_expired_goes_from_the_pods_volume_and_its_room_comes_back(platform: KubernetesPlatform) -> None:
    site = CleanupSite(platform, Unguarded(), seconds=30, silence_seconds=20)
    for kind in ("messages", "proofs", "sessions"):
        steps.delete(site, _planned(), kind)
    call(platform, _FILL, timeout_seconds=30)
    found = _planned()
    assert [steps.count(site, found, kind).count for kind in ("messages", "proofs", "sessions")] == [3, 3, 2]
    assert [steps.delete(site, found, kind) for kind in ("messages", "proofs", "sessions")] == [3, 3, 2]
    assert steps.compact(site) > 3 * 900
    assert [steps.delete(site, found, kind) for kind in ("messages", "proofs", "sessions")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("script", "seconds", "error", "told"),
    [
        ("for (;;);", 1.5, MessengerCallFailed, r"not answer within 1\.5 s"),
        ("process.exit(3)", 20, MessengerCallFailed, "exit code 3"),
        ("throw new Error('read-only')", 20, MessengerCallFailed, "read-only"),
        ("return require('@g3zkp/none')", 20, MessengerUnfit, "@g3zkp/none"),
    ],
)
def test_what_goes_wrong_in_a_pod_is_told_as_anywhere(
    platform: KubernetesPlatform, script: str, seconds: float, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        call(platform, f"console.log('noise'); {script}", timeout_seconds=seconds, silence_seconds=4)


def test_a_lost_lease_ends_the_call_in_the_pod(platform: KubernetesPlatform, cluster_site: ClusterSite) -> None:
    class LostSoon:
        token = 7
        asked = 0

        def ensure_held(self) -> None:
            self.asked += 1
            if self.asked > 2:
                raise LeaseLost("lost")

        def verify(self) -> None: ...

    with pytest.raises(LeaseLost):
        call(platform, "for (;;); /* lost-lease */", timeout_seconds=60, guard=LostSoon(), silence_seconds=2)
    wait_for(lambda: "lost-lease" not in _processes(cluster_site), 20, lambda: _processes(cluster_site))


def test_a_call_in_a_pod_ends_with_its_caller(cluster_site: ClusterSite) -> None:
    code = (
        "import sys; from pathlib import Path; from g3zkp_maint.messenger_call import call\n"
        "from g3zkp_maint.platforms.kubernetes import KubernetesPlatform\n"
        "from g3zkp_maint.platforms.kubernetes_client import Access\n"
        "platform = KubernetesPlatform(Access(Path(sys.argv[1])), namespace=sys.argv[2])\n"
        "call(platform, 'for (;;); /* killed-caller */', timeout_seconds=100)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code, str(cluster_site.kubeconfig), cluster_site.namespace])
    try:
        wait_for(lambda: "killed-caller" in _processes(cluster_site), 30, lambda: "the call has not begun")
    finally:
        caller.kill()
        caller.wait()
    wait_for(lambda: "killed-caller" not in _processes(cluster_site), 20, lambda: _processes(cluster_site))


def _processes(site: ClusterSite) -> str:
    """The command lines in the messenger's containers: they run on this machine, and are to be seen from it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
            root = (folder / "root" / "data").samefile(site.data_dir)
        except OSError:
            continue
        if root:
            found.append(line)
    return "\n".join(found)


# -- housekeeping ----------------------------------------------------------------------------------------------------------


def _pod(name: str, command: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": spec.pop("image"), "imagePullPolicy": "Never", "command": ["sh", "-c", command]}
    return {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container], **spec}}


def test_leftovers_go_and_claims_that_nothing_mounts_are_named_and_stay(
    platform: KubernetesPlatform, cluster_site: ClusterSite
) -> None:
    kubectl = cluster_site.kubectl
    messenger = kubectl.get("deployment", "g3zkp-messenger")["spec"]["template"]["spec"]["containers"][0]
    image = messenger["image"]
    grace = {"terminationGracePeriodSeconds": 0, "image": image}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Mi"}},
        "storageClassName": "none",
    }
    kubectl.apply(
        [
            {"apiVersion": "v1", "kind": "Pod", **_pod("broken", "exit 1", **grace)},
            {"apiVersion": "v1", "kind": "Pod", **_pod("busy", "sleep 600", **grace)},
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "finished"},
                "spec": {"template": {"spec": _pod("x", "true", **grace)["spec"]}},
            },
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "forgotten"}, "spec": claim},
        ]
    )
    try:
        kubectl("wait", "job/finished", "--for=condition=complete", "--timeout=60s")
        wait_for(
            lambda: kubectl.get("pod", "broken")["status"]["phase"] == "Failed", 60, lambda: "the pod has not failed"
        )
        yard = KubernetesHousekeeping(platform.client)
        now = SystemClock().now()
        young = tidy(yard, Unguarded(), now=now, days=1)
        assert (young.leftovers, young.unmounted) == ((), ("forgotten",))
        old = tidy(yard, Unguarded(), now=now + timedelta(days=2), days=1)
        assert sorted((one.kind, one.name) for one in old.leftovers) == [("Job", "finished"), ("Pod", "broken")]
        left = json.loads(kubectl("get", "pods,jobs,pvc", "-o", "json"))["items"]
        names = {one["metadata"]["name"] for one in left if "deletionTimestamp" not in one["metadata"]}
        assert {"busy", "forgotten", *cluster_site.pods()} <= names
        assert not {"broken", "finished"} & names
    finally:
        kubectl(
            "delete", "pod/busy", "pod/broken", "job/finished", "pvc/forgotten", "--ignore-not-found", "--wait=false"
        )
