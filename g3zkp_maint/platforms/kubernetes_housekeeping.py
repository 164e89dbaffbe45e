"""What cleanup sees and removes of a namespace. It asks for no kind that could hold a secret."""

from __future__ import annotations

from typing import Protocol

from g3zkp_maint.errors import UnknownWorkload
from g3zkp_maint.platforms.kubernetes_client import KubernetesClient, Object

#: Kind, resource, and the API versions in which clusters serve it, the newest first (CronJob: v1 since 1.21).
_LISTED = (
    ("Job", "jobs", ("batch/v1",)),
    ("Pod", "pods", ("v1",)),
    ("PersistentVolumeClaim", "persistentvolumeclaims", ("v1",)),
    ("Deployment", "deployments", ("apps/v1",)),
    ("StatefulSet", "statefulsets", ("apps/v1",)),
    ("DaemonSet", "daemonsets", ("apps/v1",)),
    ("CronJob", "cronjobs", ("batch/v1", "batch/v1beta1")),
)
_REMOVABLE = {"Job": ("jobs", "batch/v1"), "Pod": ("pods", "v1")}


class Named(Protocol):
    """What is to be removed."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...


class KubernetesHousekeeping:
    """See cleanup.housekeeping.Yard."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    def objects(self) -> list[Object]:
        """Each with its kind, which items of a list lack."""
        return [{**one, "kind": kind} for kind, resource, apis in _LISTED for one in self._listed(resource, apis)]

    def remove(self, leftover: Named) -> None:
        """Just this very object, and the pods of a Job with it; pods with their ordinary grace."""
        resource, api = _REMOVABLE[leftover.kind]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": leftover.uid}}
        self._client.request("DELETE", self._client.path(resource, leftover.name, api=api), body=body)

    def _listed(self, resource: str, apis: tuple[str, ...]) -> list[Object]:
        for api in apis[:-1]:
            try:
                return self._client.list(self._client.path(resource, api=api))
            except UnknownWorkload:  # this cluster is older than that version
                continue
        return self._client.list(self._client.path(resource, api=apis[-1]))
