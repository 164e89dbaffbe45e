"""Deployments and StatefulSets of the namespace, and the pods that are theirs.

A selector finds pods; ownership decides whose they are: two workloads may share labels, and a helper may carry any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from g3zkp_maint.errors import UnknownWorkload
from g3zkp_maint.platforms.base import Workload
from g3zkp_maint.platforms.kubernetes_client import KubernetesClient
from g3zkp_maint.platforms.kubernetes_pod import (
    is_ending,
    is_finished,
    is_ready,
    name_of,
    owner_uid,
    selector_of,
)

Object = dict[str, Any]

APPS = "apps/v1"
DEPLOYMENT, STATEFUL_SET = "Deployment", "StatefulSet"
_RESOURCES = {DEPLOYMENT: "deployments", STATEFUL_SET: "statefulsets"}


class KubernetesWorkloads:
    """Reads and scales them. `names` gives the cluster's name for one of the product's; others stand for themselves."""

    def __init__(self, client: KubernetesClient, names: Mapping[str, str]) -> None:
        self._client = client
        self._names = dict(names)
        self._kinds: dict[str, str] = {}

    def shown(self) -> list[Workload]:
        """Those of the product that are there, under the product's names."""
        found = []
        for name in self._names:
            try:
                document = self.find(name)
            except UnknownWorkload:
                continue
            ready = int(document["status"].get("readyReplicas") or 0)
            found.append(Workload(name, document["kind"], desired(document), ready))
        return found

    def find(self, name: str) -> Object:
        """The document of a workload. Raises UnknownWorkload."""
        real = self._names.get(name, name)
        last = self._kinds.get(name, DEPLOYMENT)
        for kind in sorted(_RESOURCES, key=lambda kind: kind != last):
            try:
                document = self._client.get(self._client.path(_RESOURCES[kind], real, api=APPS))
            except UnknownWorkload:
                continue
            self._kinds[name] = kind
            return document
        raise UnknownWorkload(
            f"there is no Deployment or StatefulSet {real!r} in namespace {self._client.namespace}; see "
            "platform.namespace and platform.kubernetes"
        )

    def path(self, workload: Mapping[str, Any], *sub: str) -> str:
        """The path of a workload's document, or of a subresource."""
        return self._client.path(_RESOURCES[workload["kind"]], name_of(workload), *sub, api=APPS)

    def scale(self, name: str, replicas: int) -> None:
        """See Platform.scale."""
        self._client.merge_patch(self.path(self.find(name), "scale"), {"spec": {"replicas": replicas}})

    def pods(self, workload: Mapping[str, Any]) -> list[Object]:
        """Its pods by name, also those that are being ended; those that have finished are left out."""
        owners = {workload["metadata"]["uid"]}
        if workload["kind"] == DEPLOYMENT:
            owners = {one["metadata"]["uid"] for one in self.history(workload)}
        pods = self._client.list(self._client.path("pods"), selector=selector_of(workload))
        return sorted((pod for pod in pods if owner_uid(pod) in owners and not is_finished(pod)), key=name_of)

    def history(self, workload: Mapping[str, Any]) -> list[Object]:
        """The revisions that the cluster keeps: ReplicaSets of a Deployment, ControllerRevisions of a StatefulSet."""
        resource = "replicasets" if workload["kind"] == DEPLOYMENT else "controllerrevisions"
        found = self._client.list(self._client.path(resource, api=APPS), selector=selector_of(workload))
        return [one for one in found if owner_uid(one) == workload["metadata"]["uid"]]


def desired(workload: Mapping[str, Any]) -> int:
    """How many instances are asked for; the API's default is 1."""
    return int(workload["spec"].get("replicas", 1))


def is_observed(workload: Mapping[str, Any]) -> bool:
    """Whether its controller has seen it as it is: before, its status is of an older one."""
    return int(workload["status"].get("observedGeneration") or 0) >= int(workload["metadata"]["generation"])


def is_settled(workload: Mapping[str, Any], pods: list[Object]) -> bool:
    """Whether exactly the pods that are asked for are there, all ready."""
    return is_observed(workload) and len(pods) == desired(workload) and all(map(is_ready, pods))


def usable(pods: list[Object], is_usable: Callable[[Object], bool] = is_ready) -> list[Object]:
    return [pod for pod in pods if not is_ending(pod) and is_usable(pod)]
