"""Restores onto a messenger in a real cluster: killed at every step, beside an autoscaler, into an emptied namespace."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from declared_objects import MARKER, declared
from restore_desk import ByHand, Desk, wait_for

pytestmark = pytest.mark.cluster

STEPS = ("check", "safety", "stop", "objects", "files", "redis", "start", "health")
EVERY = ("--component", "ipfs", "--component", "keys", "--component", "redis", "--component", "k8s")
#: So many that a restore can be killed between the first and the last.
NAMES = [f"piece-{number:02}" for number in range(16)]


def _blocks(desk: Desk) -> list[Path]:
    """The folders of the messenger's blocks."""
    return sorted(path for path in (desk.site.data_dir / "ipfs" / "blocks").iterdir() if path.is_dir())


def _spoil(desk: Desk) -> list[Path]:
    """Returns the folders that are gone."""
    *gone, changed = _blocks(desk)
    for folder in gone:
        shutil.rmtree(folder)
    next(path for path in changed.iterdir()).write_bytes(b"changed")
    (changed / "new.data").write_bytes(b"since then")
    desk.redis("FLUSHALL")
    desk.redis("SET", "what came later", "1")
    desk.site.kubectl("delete", "configmap", *NAMES)
    return gone


def _pieces() -> list[dict[str, Any]]:
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}} for name in NAMES]


def _autoscaler() -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "g3zkp-messenger"}
    scaling = {"minReplicas": 2, "maxReplicas": 5, "targetCPUUtilizationPercentage": 80}
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "messenger"},
        "spec": {"scaleTargetRef": target, **scaling},
    }


def _as_if_far_away(desk: Desk, helper: str) -> None:
    """Its owner, as any other process must see it, lives on a machine that nobody can look into."""
    kubectl = desk.site.kubectl
    kubectl("annotate", "pod", helper, "--overwrite", "g3zkp.io/owner=another-machine/boot/pids 1")


def test_killed_at_every_step_it_goes_on_and_all_is_as_in_the_backup_and_no_other_is_touched(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl = desk.site.kubectl
    monkeypatch.setattr(desk, "source", "exec")
    kubectl.apply([_autoscaler(), *_pieces()])
    kubectl("scale", "deployment/g3zkp-messenger", "--replicas=4")  # by hand, and not what its manifest says
    kubectl("rollout", "status", "deployment/g3zkp-messenger", "--timeout=120s")
    tree, keys, bystander = desk.tree(times_to_ns=1000), desk.keys(), desk.site.bystander()
    assert len(keys) >= 500
    name = desk.run("run", "full")["name"]
    gone = _spoil(desk)
    with desk.watched_replicas() as replicas:
        restore = ByHand(desk, name, *EVERY)
        moments: dict[str, tuple[Callable[[], object], str]] = {
            "objects": (lambda: restore.reported("ConfigMap/piece-01"), "the first object is there again"),
            "files": (lambda: any(folder.exists() for folder in gone), "the first file is there again"),
            "redis": (lambda: "g3zkp-restore-redis" in desk.helpers(), "a helper pod has Redis's volume"),
        }
        for step in STEPS:
            if step not in moments:
                restore.kill_in(step)
                continue
            restore.kill_when(*moments[step])
            for helper in desk.helpers():
                _as_if_far_away(desk, helper)
        result = restore.finish()
        # Nothing but the restore took it down or up: the autoscaler's least number came at no time.
        wait_for(lambda: replicas() == [4, 0, 4], f"replicas have been {replicas()}", seconds=10)
    assert restore.deaths == len(STEPS)
    assert (result["backup"], result["redis_keys"], result["run"]) == (name, len(keys), restore.run)
    objects = result["objects"]
    assert (objects["created"], objects["changed"], objects["refused"]) == (len(NAMES), 0, 0)
    assert {one["object"] for one in objects["reports"]} == {f"ConfigMap/{one}" for one in NAMES}
    assert desk.tree(times_to_ns=1000) == tree  # as exactly as commands set times
    assert desk.keys() == keys
    assert desk.instances() == (4, 4)
    assert desk.site.bystander() == bystander
    wait_for(lambda: not desk.helpers(), "no helper pod is left")
    kubectl("delete", "horizontalpodautoscaler/messenger", *(f"configmap/{one}" for one in NAMES))


def test_an_emptied_namespace_gets_its_objects_first_and_then_its_data(
    desk: Desk, require_program: Callable[[str], str]
) -> None:
    kubectl = desk.site.kubectl
    kubectl.apply(declared())
    tree, keys, bystander = desk.tree(), desk.keys(), desk.site.bystander()
    name = desk.run("run", "full")["name"]
    _assert_sealed(desk, name, require_program)
    kubectl(
        "delete", "deployment/g3zkp-messenger", "service/g3zkp-service", "secret/g3zkp-keys", "configmap/g3zkp-config"
    )
    kubectl("delete", "secret/extra", "hpa/extra", "rolebinding/extra", "statefulset/redis", "secret/redis")
    shutil.rmtree(desk.site.data_dir / "ipfs")
    wait_for(lambda: not desk.site.pods() and not desk.site.pods("redis"), "their pods are gone")

    plan = desk.run("restore", name, *EVERY, "--dry-run")
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

    objects = desk.restore(name, *EVERY)["objects"]
    counts = {outcome: objects[outcome] for outcome in ("created", "changed", "same", "refused")}
    assert counts == {"created": len(gone), "changed": 0, "same": len(changes) - len(gone), "refused": 0}
    assert {one["object"] for one in objects["reports"]} == gone
    assert desk.tree() == tree
    assert desk.keys() == keys
    assert desk.instances("statefulset/redis") == (1, 1)
    assert desk.instances() == (4, 4)  # as the backup has it: there was nothing else to know it by
    assert desk.site.bystander() == bystander
    assert not desk.helpers()


def _assert_sealed(desk: Desk, name: str, require_program: Callable[[str], str]) -> None:
    """A Secret's value is where the recovery identity opens it, and all that could hold it is encrypted."""
    stored = [path for path in desk.place.store.rglob("*") if path.is_file()]
    sealed = [path for path in stored if path.suffix == ".age"]
    assert all(path.read_bytes().startswith(b"age-encryption.org/v1\n") for path in sealed)
    (objects,) = [path for path in sealed if (path.parent.name, path.name) == (name, "k8s.yaml.zst.age")]
    identity = desk.place.root / "keys" / "recovery_identity"
    age = [require_program("age"), "-d", "-i", str(identity), str(objects)]
    opened = subprocess.run(age, capture_output=True, check=True).stdout
    plain = subprocess.run([require_program("zstd"), "-d"], input=opened, capture_output=True, check=True).stdout
    value = base64.b64encode(MARKER.encode())
    assert value in plain
    for path in set(stored) - set(sealed):
        content = path.read_bytes()
        assert value not in content, path
        assert MARKER.encode() not in content, path
