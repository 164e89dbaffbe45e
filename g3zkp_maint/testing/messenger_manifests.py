"""What the messenger consists of in a cluster, as objects for `kubectl apply`: what a test site deploys.

Names, ports and options are those of the maintenance protocols. The one liberty is the volumes: hostPath, so that tests
see the files from outside.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g3zkp_maint.testing.messenger_image import TAG

Object = dict[str, Any]

MESSENGER_UID = 1001
REDIS_UID = 999
#: The claim of the StatefulSet's template, and of the Deployment: `<template>-<name>-<ordinal>`.
REDIS_CLAIM = "data-redis-0"
BYSTANDER = "bystander"


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """`redis_arguments` come after the others and win over them."""

    replicas: int = 3
    redis_kind: str = "StatefulSet"
    appendonly: bool = True
    redis_arguments: tuple[str, ...] = ()


def namespace(name: str, labels: Mapping[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}


def volumes(name: str, folder: Path, claim: str, labels: Mapping[str, str]) -> Object:
    """A PersistentVolume on `folder`, for one claim of namespace `name`."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{name}-{claim}", "labels": dict(labels)},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": name, "name": claim},
            "hostPath": {"path": str(folder), "type": "Directory"},
        },
    }


def messenger(options: SiteOptions, secret: Mapping[str, bytes]) -> list[Object]:
    """ConfigMap, Secret with `secret` as its values, claim, Service and Deployment."""
    return [
        _object("v1", "ConfigMap", "g3zkp-config", data={"G3ZKP_DATA": "/data", "PORT": "3000"}),
        _secret("g3zkp-keys", secret),
        _object("v1", "PersistentVolumeClaim", "g3zkp-data-pvc", spec=_claim()),
        _service("g3zkp-service", "g3zkp", 3000),
        _workload("Deployment", "g3zkp-messenger", "g3zkp", options.replicas, _messenger_pod()),
    ]


def redis(options: SiteOptions, password: str) -> list[Object]:
    """Secret `redis` (`password`), claim, Service and StatefulSet or Deployment."""
    pod = _redis_pod(options)
    secret, service = _secret("redis", {"password": password.encode()}), _service("redis", "redis", 6379)
    if options.redis_kind == "Deployment":
        claim = _object("v1", "PersistentVolumeClaim", REDIS_CLAIM, spec=_claim())
        pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": REDIS_CLAIM}}]
        workload = _workload("Deployment", "redis", "redis", 1, pod)
        workload["spec"]["strategy"] = {"type": "Recreate"}
        return [secret, service, claim, workload]
    workload = _workload("StatefulSet", "redis", "redis", 1, pod)
    workload["spec"]["serviceName"] = "redis"
    workload["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": _claim()}]
    return [secret, service, workload]


def bystander() -> list[Object]:
    """A workload with configuration of its own that is not the messenger's, and that nobody may touch."""
    container = {"name": "bystander", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent"}
    container["command"] = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]  # type: ignore[assignment]
    pod = {"containers": [container], "terminationGracePeriodSeconds": 5}
    return [
        _secret("bystander", {"token": b"not-yours"}),
        _workload("Deployment", BYSTANDER, BYSTANDER, 1, pod),
    ]


def _messenger_pod() -> Object:
    probe = {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3}
    container = {
        "name": "g3zkp",
        "image": TAG,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 3000}],
        "envFrom": [{"configMapRef": {"name": "g3zkp-config"}}],
        "env": [{"name": "G3ZKP_KEYS_DIR", "value": "/etc/g3zkp/keys"}, _from_secret("REDIS_PASSWORD")],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, **probe, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": "http"}, **probe, "initialDelaySeconds": 10},
        "securityContext": {"runAsUser": MESSENGER_UID, "runAsNonRoot": True, "allowPrivilegeEscalation": False},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "keys", "mountPath": "/etc/g3zkp/keys", "readOnly": True},
        ],
    }
    return {
        "containers": [container],
        "terminationGracePeriodSeconds": 15,
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "g3zkp-data-pvc"}},
            {"name": "keys", "secret": {"secretName": "g3zkp-keys", "optional": True}},
        ],
    }


def _redis_pod(options: SiteOptions) -> Object:
    appendonly = "yes" if options.appendonly else "no"
    container = {
        "name": "redis",
        "image": "redis:7-alpine",
        "imagePullPolicy": "IfNotPresent",
        "command": ["redis-server", "--dir", "/data", "--appendonly", appendonly],
        "args": ["--requirepass", "$(REDIS_PASSWORD)", *options.redis_arguments],
        "env": [_from_secret("REDIS_PASSWORD"), _from_secret("REDISCLI_AUTH")],
        "ports": [{"name": "redis", "containerPort": 6379}],
        "readinessProbe": {
            "exec": {"command": ["sh", "-c", "redis-cli ping | grep -q PONG"]},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        },
        "securityContext": {"runAsUser": REDIS_UID, "runAsNonRoot": True, "allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    return {"containers": [container], "terminationGracePeriodSeconds": 15}


def _from_secret(variable: str) -> Object:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}


def _workload(kind: str, name: str, app: str, replicas: int, pod: Object) -> Object:
    labels = {"app": app}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _object("apps/v1", kind, name, spec=spec)


def _service(name: str, app: str, port: int) -> Object:
    return _object("v1", "Service", name, spec={"selector": {"app": app}, "ports": [{"port": port}]})


def _secret(name: str, values: Mapping[str, bytes]) -> Object:
    data = {key: base64.b64encode(value).decode() for key, value in values.items()}
    return _object("v1", "Secret", name, type="Opaque", data=data)


def _claim() -> Object:
    return {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "",
        "resources": {"requests": {"storage": "10Gi"}},
    }


def _object(version: str, kind: str, name: str, **rest: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}
