"""Of each kind that people declare one object, for a namespace of a test: what a backup of objects must bring back.

No custom resource: an API server of 1.20 that was built with a newer Go than its own dies of the first one. What is done
with those is in tests/unit/backup/test_objects.py.
"""

from __future__ import annotations

import base64
from typing import Any

Object = dict[str, Any]

#: A secret value that must be in no archive, log or message in the clear.
MARKER = "a-value-that-nobody-may-see"


def declared() -> list[Object]:
    """In an order in which the server takes them. API versions are those that 1.20 and current clusters share, but for
    CronJob and PodDisruptionBudget."""
    pod = {
        "containers": [{"name": "c", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent", "command": ["true"]}]
    }
    job = {"template": {"spec": {**pod, "restartPolicy": "Never"}}}
    subject = {"kind": "ServiceAccount", "name": "extra"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "extra"}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "g3zkp-messenger"}
    ports = [{"port": 80, "nodePort": 30987}]
    return [
        _object("v1", "ServiceAccount"),
        _object("v1", "Secret", type="Opaque", data={"value": base64.b64encode(MARKER.encode()).decode()}),
        _object("v1", "ConfigMap", data={"a": "1", "b": "2"}),
        _object("v1", "ResourceQuota", spec={"hard": {"pods": "50"}}),
        _object("v1", "LimitRange", spec={"limits": [{"type": "Container", "defaultRequest": {"cpu": "1m"}}]}),
        _object("rbac.authorization.k8s.io/v1", "Role", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
        _object("rbac.authorization.k8s.io/v1", "RoleBinding", subjects=[subject], roleRef=role),
        _object("v1", "Service", spec={"type": "NodePort", "selector": {"app": "g3zkp"}, "ports": ports}),
        _object("v1", "Service", "external", spec={"ports": [{"port": 6379}]}),
        _object("v1", "Service", "headless", spec={"clusterIP": "None", "selector": {"app": "g3zkp"}}),
        _object("v1", "Endpoints", "external", subsets=[{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 6379}]}]),
        _object("networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": {"matchLabels": {"a": "b"}}}),
        _object("policy/v1beta1", "PodDisruptionBudget", spec={"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}),
        _object("batch/v1beta1", "CronJob", spec={"schedule": "0 0 31 2 *", "jobTemplate": {"spec": job}}),
        _object("batch/v1", "Job", "over", spec=job),
        _object("autoscaling/v1", "HorizontalPodAutoscaler", spec=_scaling(target)),
        _object("networking.k8s.io/v1", "Ingress", spec={"defaultBackend": {"service": {"name": "extra", "port": {"number": 80}}}}),
    ]  # fmt: skip


def _scaling(target: Object) -> Object:
    return {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4, "targetCPUUtilizationPercentage": 80}


def _object(version: str, kind: str, name: str = "extra", **rest: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"from": "test"}}, **rest}
