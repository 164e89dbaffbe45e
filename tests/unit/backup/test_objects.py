"""What a backup keeps of a cluster's objects: a table of what goes and what stays."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from g3zkp_maint.backup.objects import as_yaml, cleaned, exact, identity, kept


def one(kind: str, name: str = "thing", *, version: str = "v1", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "g3zkp", "uid": f"uid-{kind}-{name}", **more.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def owned(by: str, *, controller: bool = True) -> dict[str, Any]:
    return {"ownerReferences": [{"uid": by, "controller": controller, "kind": "X", "name": "x", "apiVersion": "v1"}]}


SERVER = {
    "uid": "1",
    "resourceVersion": "7",
    "generation": 3,
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "managedFields": [{}],
    "selfLink": "/api",
    "finalizers": ["kubernetes.io/pvc-protection"],
    "annotations": {"deployment.kubernetes.io/revision": "4"},
}


def test_what_only_the_server_sets_is_taken_out_and_what_somebody_wrote_stays() -> None:
    found = one(
        "Deployment",
        version="apps/v1",
        metadata={**SERVER, "labels": {"app": "a"}},
        spec={"replicas": 2, "template": {"metadata": {"creationTimestamp": None, "labels": {"app": "a"}}}},
        status={"readyReplicas": 2},
    )
    assert cleaned(found) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "thing", "namespace": "g3zkp", "labels": {"app": "a"}},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "a"}}}},
    }
    assert found["status"] == {"readyReplicas": 2}


CLEANED = {
    "a service's address": (one("Service", spec={"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7"]}), {"spec": {}}),
    "a headless service": (
        one("Service", spec={"clusterIP": "None", "clusterIPs": ["None"]}),
        {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}},
    ),
    "a node port stays": (
        one("Service", spec={"clusterIP": "10.0.0.7", "ports": [{"port": 1, "nodePort": 30001}]}),
        {"spec": {"ports": [{"port": 1, "nodePort": 30001}]}},
    ),
    "a claim's volume": (
        one(
            "PersistentVolumeClaim",
            metadata={
                "annotations": {
                    "pv.kubernetes.io/bind-completed": "yes",
                    "volume.beta.kubernetes.io/storage-provisioner": "x",
                }
            },
            spec={"volumeName": "pv-1", "storageClassName": ""},
        ),
        {"spec": {"storageClassName": ""}},
    ),
    "a declared token": (
        one(
            "Secret",
            type="kubernetes.io/service-account-token",
            data={"token": "c2VjcmV0"},
            metadata={"annotations": {"kubernetes.io/service-account.name": "a", "kubernetes.io/service-account.uid": "1"}},
        ),
        {
            "type": "kubernetes.io/service-account-token",
            "metadata": {
                "name": "thing",
                "namespace": "g3zkp",
                "annotations": {"kubernetes.io/service-account.name": "a"},
            },
        },
    ),
    "a job's selector": (
        one(
            "Job",
            version="batch/v1",
            metadata={"labels": {"controller-uid": "1"}},
            spec={
                "selector": {"matchLabels": {"controller-uid": "1"}},
                "template": {"metadata": {"labels": {"controller-uid": "1", "job-name": "x", "app": "a"}}},
            },
        ),
        {"spec": {"template": {"metadata": {"labels": {"app": "a"}}}}},
    ),
    "a job's own selector": (
        one("Job", version="batch/v1", spec={"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}}),
        {"spec": {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}}},
    ),
    "a pod's node and token": (
        one(
            "Pod",
            spec={
                "nodeName": "n",
                "containers": [
                    {
                        "name": "c",
                        "volumeMounts": [
                            {"name": "default-token-abcde", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                            {"name": "data", "mountPath": "/data"},
                        ],
                    }
                ],
                "volumes": [{"name": "data", "emptyDir": {}}, {"name": "default-token-abcde", "secret": {}}],
            },
        ),
        {
            "spec": {
                "containers": [{"name": "c", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                "volumes": [{"name": "data", "emptyDir": {}}],
            }
        },
    ),
    "a stateful set's claims": (
        one(
            "StatefulSet",
            version="apps/v1",
            spec={"volumeClaimTemplates": [{"metadata": {"name": "d", "creationTimestamp": None}, "status": {}}]},
        ),
        {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}}]}},
    ),
    "a cron job's templates": (
        one(
            "CronJob",
            version="batch/v1beta1",
            spec={
                "jobTemplate": {
                    "metadata": {"creationTimestamp": None},
                    "spec": {"template": {"metadata": {"creationTimestamp": None}}},
                }
            },
        ),
        {"spec": {"jobTemplate": {"metadata": {}, "spec": {"template": {"metadata": {}}}}}},
    ),
    "of a custom resource all but the status": (
        one("Service", version="serving.knative.dev/v1", spec={"clusterIP": "10.0.0.7"}, status={"url": "x"}),
        {"spec": {"clusterIP": "10.0.0.7"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEANED)
def test_each_kind_is_cleaned_of_what_its_controller_sets(case: str) -> None:
    given, expected = CLEANED[case]
    base = {
        "apiVersion": given["apiVersion"],
        "kind": given["kind"],
        "metadata": {"name": "thing", "namespace": "g3zkp"},
    }
    assert cleaned(given) == {**base, **expected}
    assert cleaned(cleaned(given)) == cleaned(given)


LEFT_OUT = {
    "a replica set of a deployment": one("ReplicaSet", version="apps/v1", metadata=owned("elsewhere")),
    "what an object of the set owns": one("PersistentVolumeClaim", metadata=owned("uid-Keeper-k", controller=False)),
    "the authority of the cluster": one("ConfigMap", "kube-root-ca.crt"),
    "a token that the cluster made": one(
        "Secret",
        "a-token-x5k2z",
        type="kubernetes.io/service-account-token",
        metadata={"annotations": {"kubernetes.io/service-account.name": "a"}},
    ),
    "endpoints of a service that selects": one("Endpoints", "selecting"),
    "slices by their controller": one(
        "EndpointSlice",
        version="discovery.k8s.io/v1",
        metadata={"labels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
    ),
    "a job that has ended": one("Job", status={"conditions": [{"type": "Complete", "status": "True"}]}),
    "a pod that has ended": one("Pod", status={"phase": "Succeeded"}),
    "a helper pod": one("Pod", metadata={"labels": {"app.kubernetes.io/managed-by": "g3zkp-maint"}}),
}  # fmt: skip

STAYS = {
    "what an owner outside the namespace has": one("ConfigMap", metadata=owned("elsewhere", controller=False)),
    "a secret that only looks like a token": one("Secret", "a-token-x5k2z", type="Opaque"),
    "a token that somebody declared": one("Secret", "ci-token-abcde", type="kubernetes.io/service-account-token"),
    "endpoints of a service that selects nothing": one("Endpoints", "external"),
    "a job that runs": one("Job", version="batch/v1", status={"active": 1}),
    "a pod of its own": one("Pod", spec={"containers": []}, status={"phase": "Running"}),
}  # fmt: skip

AROUND = [
    one("ServiceAccount", "a", secrets=[{"name": "a-token-x5k2z"}, {"name": "pull"}]),
    one("Service", "selecting", spec={"selector": {"app": "a"}}),
    one("Service", "external", spec={}),
    one("Keeper", "k", version="example.org/v1"),
]


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_controllers_make_is_left_out(case: str) -> None:
    assert identity(LEFT_OUT[case]) not in {identity(found) for found in kept([*AROUND, LEFT_OUT[case]])}


@pytest.mark.parametrize("case", STAYS)
def test_what_somebody_declared_stays(case: str) -> None:
    found = {identity(one): one for one in kept([*AROUND, STAYS[case]])}
    assert identity(STAYS[case]) in found
    assert "ownerReferences" not in found[identity(STAYS[case])]["metadata"]


def test_an_account_no_longer_names_the_token_that_was_made_for_it() -> None:
    found = kept([*AROUND, LEFT_OUT["a token that the cluster made"]])
    assert found[0]["secrets"] == [{"name": "pull"}]


def test_an_object_that_two_groups_serve_is_kept_once() -> None:
    old, new = (
        one("Ingress", version=version, metadata={"uid": "same"})
        for version in ("extensions/v1beta1", "networking.k8s.io/v1")
    )
    for order in ([old, new], [new, old]):
        assert [found["apiVersion"] for found in kept(order)] == ["networking.k8s.io/v1"]


def test_what_replaces_an_object_has_what_the_server_set_and_nothing_that_was_added_since() -> None:
    found = one(
        "Service",
        metadata={**SERVER, "labels": {"a": "1", "added": "2"}, "annotations": {"added": "3", **SERVER["annotations"]}},
        spec={"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7"], "ports": [{"port": 1}, {"port": 2}], "added": True},
        status={"loadBalancer": {}},
    )
    wanted = one("Service", spec={"ports": [{"port": 1}], "type": "ClusterIP"}, metadata={"labels": {"a": "1"}})
    del wanted["metadata"]["uid"]
    whole = exact(wanted, found)
    assert cleaned(whole) == wanted
    assert whole["spec"]["clusterIP"] == "10.0.0.7"
    assert (whole["metadata"]["resourceVersion"], whole["metadata"]["uid"]) == ("7", "1")
    assert whole["metadata"]["labels"] == {"a": "1"}
    assert whole["metadata"]["annotations"] == SERVER["annotations"]


@pytest.mark.parametrize(
    "text", ["y", "N", "yes", "Off", "1e3", "0o7", "1:30", "null", "~", "", "a: b", "# no", "two\nlines", " "]
)
def test_a_text_stays_a_text_for_readers_of_every_version_of_yaml(text: str) -> None:
    written = as_yaml([{"kind": text, text or "empty": "ConfigMap"}])
    assert yaml.safe_load(written) == {"kind": text, text or "empty": "ConfigMap"}
    assert b'kind: "' in written
    assert b" ConfigMap" in written
