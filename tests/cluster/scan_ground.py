"""Two namespaces with the product as k8s/ has it and a messenger as it should be, of which no pod is started; what is planted
there; and the scan as an account of k8s/ makes it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from g3zkp_maint import settings
from g3zkp_maint.audit.finding import Finding
from g3zkp_maint.audit.registry import SCAN
from g3zkp_maint.audit.scan import BLIND
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.operations.audit import examine
from g3zkp_maint.testing import messenger_manifests
from g3zkp_maint.testing.cluster_site import LABELS
from g3zkp_maint.testing.kubectl import Kubectl
from g3zkp_maint.testing.rendered import Object, for_old_cluster, moved, of_kind, pod_specs, render_with

K8S = Path(__file__).parents[2] / "k8s"
MESSENGER = Path(__file__).with_name("clean_messenger.yaml")
#: The manifests by which the checks are tested.
MANIFESTS = Path(__file__).parents[1] / "unit" / "audit" / "manifests"
OF_OBJECTS = {check.id for check in SCAN if "objects" in check.needs}
_DIGEST = f"@sha256:{'0123456789abcdef' * 4}"
_LEFT_OUT = ("PersistentVolume", "PersistentVolumeClaim", "ConfigMap", "PodDisruptionBudget")
_OF_CLUSTER = ("ClusterRole", "ClusterRoleBinding")


@dataclass(frozen=True)
class Ground:
    """`place` is the messenger's namespace. `folder` is the test's, `coordination` the URL of a Redis."""

    kubeconfig: Path
    place: str
    folder: Path
    coordination: str
    applied: list[Object] = field(default_factory=list)

    @property
    def beside(self) -> str:
        return f"{self.place}-maint"

    def apply(self, objects: Iterable[Object]) -> None:
        """In the namespaces that they name, and without a pod of theirs; what is the cluster's gets a name of this one's."""
        found = [_named_for(self.place, one) for one in for_old_cluster(_still(list(objects)))]
        self.applied.extend(of_kind(found, *_OF_CLUSTER))
        Kubectl(self.kubeconfig, "").apply(found)

    def scan(self, account: str = "worker-observe", **looks: bool) -> list[Finding]:
        """What is found of objects, or could not be looked at, by that account of ours."""
        report = examine(self.services(account, **looks), None)
        return [one for one in report.findings if one.check in {*OF_OBJECTS, BLIND.id}]

    def services(self, account: str, **looks: bool) -> Services:
        ours = {"g3zkp:": f"{self.place}:", "g3zkp-maint:": f"{self.beside}:"}
        audit = settings.Audit()
        return Services(
            settings.Settings.model_validate(
                {
                    "redis": {"url": self.coordination},
                    "platform": {
                        "kind": "kubernetes",
                        "namespace": self.place,
                        "kubernetes": {"kubeconfig": self._config(account)},
                    },
                    "store": {"directory": {"path": self.folder}},
                    "audit": {
                        "fleets_namespace": self.beside,
                        "readers": [_moved_name(one, ours) for one in audit.readers],
                        "commanders": [_moved_name(one, ours) for one in audit.commanders],
                        "look_into_files": False,
                        "look_into_secret": False,
                        "look_into_redis": False,
                        **looks,
                    },
                }
            )
        )

    def _config(self, account: str) -> Path:
        """With a token such as a pod is given."""
        path = self.folder / f"{account}.conf"
        if not path.exists():
            token = Kubectl(self.kubeconfig, self.beside)("create", "token", account, "--duration=1h").decode().strip()
            document = yaml.safe_load(self.kubeconfig.read_text())
            document["users"] = [{"name": user["name"], "user": {"token": token}} for user in document["users"]]
            path.write_text(yaml.safe_dump(document))
        return path


@contextmanager
def scan_ground(kubeconfig: Path, place: str, folder: Path, coordination: str) -> Iterator[Ground]:
    """As it should be; nothing of it is left afterwards."""
    ground = Ground(kubeconfig, place, folder, coordination)
    kubectl = Kubectl(kubeconfig, "")
    places = {"g3zkp": ground.place, "g3zkp-maint": ground.beside}
    rendered = render_with(K8S, "production", ["scan-cluster"], folder / "rendered")
    messenger = [_placed(one, ground.place) for one in yaml.safe_load_all(MESSENGER.read_text())]
    try:
        kubectl.apply([messenger_manifests.namespace(one, LABELS) for one in places.values()])
        wanted = [one for one in rendered if one["kind"] not in ("Namespace", *_LEFT_OUT)]
        ground.apply([*(_by_digest(one) for one in moved(wanted, places)), *messenger])
        yield ground
    finally:
        if ground.applied:
            kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(ground.applied).encode())
        kubectl("delete", "namespace", *places.values(), "--ignore-not-found", "--wait=false")


def planted(check: str, place: str) -> list[Object]:
    """What the check's file of manifests has, with names of its own, and pods as a Deployment makes them."""
    objects = list(yaml.safe_load_all((MANIFESTS / f"{check}.yaml").read_text()))
    own = {one["metadata"]["name"] for one in objects}
    renamed = partial(_renamed, own=own, prefix=check)
    return [_placed(_deployed(renamed(one)), place) for one in objects]


def _renamed(one: Object, *, own: set[str], prefix: str) -> Object:
    one["metadata"]["name"] = f"{prefix}-{one['metadata']['name']}"
    for holder, key in ((one.get("roleRef", {}), "name"), (one.get("spec", {}), "serviceAccountName")):
        if holder.get(key) in own:
            holder[key] = f"{prefix}-{holder[key]}"
    return one


def _deployed(one: Object) -> Object:
    if one["kind"] != "Pod":
        return one
    labels = one["metadata"].get("labels") or {"app": one["metadata"]["name"]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": one["spec"]}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": one["metadata"]["name"]}, "spec": spec}


def _still(objects: list[Object]) -> list[Object]:
    """No pod comes of them."""
    found = copy.deepcopy(objects)
    for one, template in pod_specs(found):
        template["spec"]["nodeSelector"] = {"g3zkp-maint.test/nowhere": "yes"}
        if one["kind"] in ("Deployment", "StatefulSet"):
            one["spec"]["replicas"] = 0
        elif one["kind"] == "CronJob":
            one["spec"]["suspend"] = True
    return found


def _by_digest(one: Object) -> Object:
    for _, template in pod_specs([one]):
        for container in template["spec"]["containers"]:
            container["image"] += _DIGEST
    return one


def _placed(one: Object, place: str) -> Object:
    if one["kind"] not in _OF_CLUSTER:
        one["metadata"]["namespace"] = place
    return one


def _named_for(place: str, one: Object) -> Object:
    """What is of the whole cluster is told from that of others by its name."""
    found = copy.deepcopy(one)
    if one["kind"] in _OF_CLUSTER:
        found["metadata"]["name"] = f"{place}-{one['metadata']['name']}"
        found["metadata"]["labels"] = dict(LABELS)
    reference: dict[str, Any] = found.get("roleRef", {})
    if reference.get("kind") == "ClusterRole":
        reference["name"] = f"{place}-{reference['name']}"
    return found


def _moved_name(subject: str, places: dict[str, str]) -> str:
    for before, after in places.items():
        subject = subject.replace(f"system:serviceaccount:{before}", f"system:serviceaccount:{after}")
    return subject
