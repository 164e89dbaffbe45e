"""What audits see of a cluster: how pods are confined, who may do what, what is open, in some namespaces.

Each kind is listed by itself, so a right that lacks costs that kind alone, and is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from g3zkp_maint.errors import PlatformDenied, UnknownWorkload
from g3zkp_maint.platforms.inspection import Inspected
from g3zkp_maint.platforms.kubernetes_client import KubernetesClient, Object

_RBAC = "rbac.authorization.k8s.io/v1"
#: Kind, resource, and the API versions in which clusters serve it, the newest first (CronJob: v1 since 1.21).
NAMESPACED = (
    ("Deployment", "deployments", ("apps/v1",)),
    ("StatefulSet", "statefulsets", ("apps/v1",)),
    ("DaemonSet", "daemonsets", ("apps/v1",)),
    ("Job", "jobs", ("batch/v1",)),
    ("CronJob", "cronjobs", ("batch/v1", "batch/v1beta1")),
    ("Pod", "pods", ("v1",)),
    ("Service", "services", ("v1",)),
    ("ServiceAccount", "serviceaccounts", ("v1",)),
    ("NetworkPolicy", "networkpolicies", ("networking.k8s.io/v1",)),
    ("Role", "roles", (_RBAC,)),
    ("RoleBinding", "rolebindings", (_RBAC,)),
)
OF_CLUSTER = (
    ("ClusterRole", "clusterroles", (_RBAC,)),
    ("ClusterRoleBinding", "clusterrolebindings", (_RBAC,)),
)


class KubernetesInspection:
    """See Inspection. `in_cluster` False leaves out what is of no namespace."""

    def __init__(self, client: KubernetesClient, namespaces: Sequence[str], *, in_cluster: bool = True) -> None:
        self._client = client
        self._in_cluster = in_cluster
        self._namespaces = tuple(dict.fromkeys(namespaces))

    def look(self) -> Inspected:
        """See Inspection.look. Raises PlatformUnavailable, PlatformError."""
        objects: list[Object] = []
        refused: list[tuple[str, str]] = []
        for kind, where, paths in self._lists():
            try:
                objects += [{**one, "kind": kind} for one in self._listed(paths)]
            except PlatformDenied as error:
                refused.append((where, str(error)))
        return Inspected(tuple(objects), tuple(refused))

    def _lists(self) -> Iterator[tuple[str, str, list[str]]]:
        """Kind, what is listed for people, and the paths under which it may be served."""
        for namespace in self._namespaces:
            for kind, resource, apis in NAMESPACED:
                paths = [f"{_root(api)}/namespaces/{quote(namespace, safe='')}/{resource}" for api in apis]
                yield kind, f"{resource} in {namespace}", paths
        for kind, resource, apis in OF_CLUSTER if self._in_cluster else ():
            yield kind, f"{resource} of the cluster", [f"{_root(api)}/{resource}" for api in apis]

    def _listed(self, paths: Sequence[str]) -> list[Object]:
        for path in paths[:-1]:
            try:
                return self._client.list(path)
            except UnknownWorkload:  # this cluster is older than that version
                continue
        return self._client.list(paths[-1])


def _root(api: str) -> str:
    return f"/apis/{api}" if "/" in api else f"/api/{api}"
