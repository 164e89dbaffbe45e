"""Restores onto a messenger in a real cluster: killed at every step, beside an autoscaler, into an emptied namespace."""

from __future__ import annotations

import shutil

import pytest
from declared_objects import MARKER, declared
from restore_desk import ByHand, Desk, wait_for

pytestmark = pytest.mark.cluster

STEPS = ("check", "safety", "stop", "files", "redis", "start", "health")


def _spoil(desk: Desk) -> None:
    blocks = desk.site.data_dir / "ipfs" / "blocks"
    folders = sorted(path for path in blocks.iterdir() if path.is_dir())
    shutil.rmtree(folders[0])
    next(path for path in folders[1].iterdir()).write_bytes(b"changed")
    (folders[1] / "new.data").write_bytes(b"since then")
    desk.redis("FLUSHALL")
    desk.redis("SET", "what came later", "1")


def test_killed_at_every_step_it_goes_on_and_all_is_as_in_the_backup_and_no_other_is_touched(desk: Desk) -> None:
    kubectl = desk.site.kubectl
    scaling = {"minReplicas": 2, "maxReplicas": 5, "targetCPUUtilizationPercentage": 80}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "g3zkp-messenger"}
    kubectl.apply(
        [
            {
                "apiVersion": "autoscaling/v1",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "messenger"},
                "spec": {"scaleTargetRef": target, **scaling},
            }
        ]
    )
    kubectl("scale", "deployment/g3zkp-messenger", "--replicas=4")  # by hand, and not what its manifest says
    kubectl("rollout", "status", "deployment/g3zkp-messenger", "--timeout=120s")
    tree, keys, bystander = desk.tree(), desk.keys(), desk.bystander()
    assert len(keys) >= 500
    name = desk.run("run", "full")["name"]
    _spoil(desk)
    restore = ByHand(desk, name)
    for step in STEPS:
        if step == "redis":
            restore.kill_when(desk.helpers, "a helper pod has Redis's volume")
        else:
            restore.kill_in(step)
    result = restore.finish()
    assert restore.deaths == len(STEPS)
    assert (result["backup"], result["redis_keys"], result["run"]) == (name, len(keys), restore.run)
    assert desk.tree() == tree
    assert desk.keys() == keys
    assert desk.instances() == (4, 4)
    assert desk.bystander() == bystander
    wait_for(lambda: not desk.helpers(), "no helper pod is left")
    kubectl("delete", "horizontalpodautoscaler", "messenger")


def test_an_emptied_namespace_gets_its_objects_first_and_then_its_data(desk: Desk) -> None:
    kubectl = desk.site.kubectl
    kubectl.apply(declared())
    tree, keys, bystander = desk.tree(), desk.keys(), desk.bystander()
    name = desk.run("run", "full")["name"]
    stored = b"".join(path.read_bytes() for path in desk.place.store.rglob("*") if path.is_file())
    assert MARKER.encode() not in stored
    kubectl(
        "delete", "deployment/g3zkp-messenger", "service/g3zkp-service", "secret/g3zkp-keys", "configmap/g3zkp-config"
    )
    kubectl("delete", "secret/extra", "hpa/extra", "rolebinding/extra", "statefulset/redis", "secret/redis")
    shutil.rmtree(desk.site.data_dir / "ipfs")
    wait_for(lambda: not desk.site.pods() and not desk.site.pods("redis"), "their pods are gone")

    every = ("--component", "ipfs", "--component", "keys", "--component", "redis", "--component", "k8s")
    plan = desk.run("restore", name, *every, "--dry-run")
    changes = {one["object"]: one["outcome"] for one in plan["changes"]}
    gone = {"Deployment/g3zkp-messenger", "Service/g3zkp-service", "Secret/g3zkp-keys", "ConfigMap/g3zkp-config"}
    gone |= {
        "StatefulSet/redis",
        "Secret/redis",
        "Secret/extra",
        "HorizontalPodAutoscaler/extra",
        "RoleBinding.rbac.authorization.k8s.io/extra",
    }
    assert {one for one, outcome in changes.items() if outcome == "created"} == gone
    assert {outcome for one, outcome in changes.items() if one not in gone} == {"same"}
    assert plan["steps"] == ["check", "safety", "stop", "objects", "files", "redis", "start", "health"]

    result = desk.restore(name, *every)
    assert result["objects"] == {
        "created": len(gone),
        "changed": 0,
        "same": len(changes) - len(gone),
        "refused": 0,
        "refusals": [],
    }
    assert desk.tree() == tree
    assert desk.keys() == keys
    assert desk.instances("statefulset/redis") == (1, 1)
    assert desk.instances() == (4, 4)  # as the backup has it: there was nothing else to know it by
    assert desk.bystander() == bystander
    assert not desk.helpers()
