"""The objects of a real namespace: backed up, taken back by kubectl, restored one by one and each reported."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from declared_objects import MARKER, declared
from restore_desk import Desk, wait_for

from g3zkp_maint.backup.object_plan import in_order
from g3zkp_maint.backup.object_reports import counted
from g3zkp_maint.backup.object_restore import preview, restore_objects
from g3zkp_maint.backup.objects import as_yaml, identity, kept
from g3zkp_maint.errors import Conflict, ObjectRefused
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def platform(desk: Desk) -> KubernetesPlatform:
    return KubernetesPlatform(Access(desk.site.kubeconfig), namespace=desk.site.namespace)


@pytest.fixture
def saved(desk: Desk, platform: KubernetesPlatform) -> Iterator[list[dict[str, Any]]]:
    """What a backup keeps of the namespace, with an object of each kind in it; they are there as well."""
    desk.site.kubectl.apply(declared())
    wait_for(lambda: _is_over(platform), "the job has ended")
    yield in_order(kept(platform.objects()))
    _delete_declared(desk)


def _is_over(platform: KubernetesPlatform) -> bool:
    (job,) = [one for one in platform.objects() if (one["kind"], one["metadata"]["name"]) == ("Job", "over")]
    return "completionTime" in job.get("status", {})


def _delete_declared(desk: Desk) -> None:
    names = [f"{one['kind'].lower()}/{one['metadata']['name']}" for one in declared()]
    desk.site.kubectl("delete", "--ignore-not-found", *names)


def _names(documents: list[dict[str, Any]]) -> set[str]:
    return {str(identity(one)) for one in documents}


def test_what_people_declared_is_kept_and_nothing_else_and_kubectl_takes_it_back(
    desk: Desk, platform: KubernetesPlatform, saved: list[dict[str, Any]]
) -> None:
    kinds = {one.partition("/")[0] for one in _names(saved)}
    assert not {"Pod", "ReplicaSet", "ControllerRevision", "Event", "Lease", "EndpointSlice", "Job"} & kinds
    assert _names(declared()) - _names(saved) == {"Job/over"}
    theirs = {one for one in _names(saved) if "extra" not in one and "external" not in one and "headless" not in one}
    assert theirs == {
        "ConfigMap/g3zkp-config",
        "Deployment/bystander",
        "Deployment/g3zkp-messenger",
        "PersistentVolumeClaim/data-redis-0",
        "PersistentVolumeClaim/g3zkp-data-pvc",
        "Secret/bystander",
        "Secret/g3zkp-keys",
        "Secret/redis",
        "Service/g3zkp-service",
        "Service/redis",
        "ServiceAccount/default",
        "StatefulSet/redis",
    }
    bystander = desk.site.bystander()
    _delete_declared(desk)
    desk.site.kubectl("apply", "-f", "-", stdin=as_yaml(saved))
    assert desk.site.bystander() == bystander
    again = kept(platform.objects())
    assert {str(identity(one)): one for one in again} == {str(identity(one)): one for one in saved}
    assert next(one for one in again if str(identity(one)) == "Secret/extra")["data"] == {
        "value": base64.b64encode(MARKER.encode()).decode()
    }


def test_each_is_created_changed_left_alone_or_refused_and_the_dry_run_had_said_so(
    desk: Desk, platform: KubernetesPlatform, saved: list[dict[str, Any]]
) -> None:
    kubectl, bystander = desk.site.kubectl, desk.site.bystander()
    uids = {str(identity(one)): one["metadata"]["uid"] for one in platform.objects()}
    kubectl("delete", "secret/extra", "role/extra", "service/external")
    kubectl("patch", "configmap", "extra", "--type=merge", "-p", '{"data": {"a": "other", "added": "since"}}')
    kubectl("annotate", "statefulset", "redis", "added=since")
    kubectl("scale", "deployment/g3zkp-messenger", "--replicas=1")
    gone_kind = {"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "old"}, "spec": {}}
    wrong = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "wrong"},
        "spec": {"ports": [{"port": 99_999, "protocol": "TCP"}]},
    }
    wanted = [*saved, gone_kind, wrong]
    expected = {
        "Secret/extra": "created",
        "Role.rbac.authorization.k8s.io/extra": "created",
        "Endpoints/external": "created",
        "Service/external": "created",
        "ConfigMap/extra": "changed",
        "StatefulSet/redis": "changed",
        "Deployment/old": "refused",
        "Service/wrong": "refused",
    }
    told = preview(platform, wanted)
    assert {one.object: str(one.outcome) for one in told if one.outcome != "same"} == expected
    assert "secret/extra" not in kubectl("get", "secrets", "-o", "name").decode().split()

    done = restore_objects(platform, wanted, ensure_held=lambda: None)
    assert [(one.object, one.outcome, one.reason) for one in done] == [
        (one.object, one.outcome, one.reason) for one in told
    ]
    reasons = {one["object"]: one["reason"] for one in counted(done)["reports"]}
    assert "serves no namespaced kind Deployment of extensions/v1beta1" in reasons["Deployment/old"]
    assert "spec.ports[0].port FieldValueInvalid" in reasons["Service/wrong"]
    assert "99999" not in reasons["Service/wrong"]

    assert kubectl.get("configmap", "extra")["data"] == {"a": "1", "b": "2"}
    assert "added" not in kubectl.get("statefulset", "redis")["metadata"].get("annotations", {})
    assert kubectl.get("deployment", "g3zkp-messenger")["spec"]["replicas"] == 1
    assert desk.site.bystander() == bystander
    kubectl("scale", "deployment/g3zkp-messenger", "--replicas=2")
    now = {str(identity(one)): one["metadata"]["uid"] for one in platform.objects()}
    assert {
        name: uid for name, uid in uids.items() if name in expected and expected[name] == "changed"
    }.items() <= now.items()
    again = counted(restore_objects(platform, saved, ensure_held=lambda: None))
    assert (again["created"], again["changed"], again["refused"]) == (0, 0, 0)


def test_an_object_that_changed_since_it_was_read_is_not_replaced(
    platform: KubernetesPlatform, saved: list[dict[str, Any]]
) -> None:
    (read,) = [one for one in platform.objects() if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", "extra")]
    platform.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {"c": "3"}})
    with pytest.raises(Conflict):
        platform.replace({**read, "data": {}})


def test_what_the_server_cannot_read_is_refused_and_not_tried_again_for_ever(platform: KubernetesPlatform) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": {"a": f"{MARKER}!"}}
    with pytest.raises(ObjectRefused, match="cannot read it as Secret") as refused:
        platform.apply(secret, dry_run=True)
    assert MARKER not in str(refused.value)
