"""What `kubectl kustomize` makes of k8s/, as objects, for tests; and how they are put into the namespaces of a test and onto
a cluster that is too old for them.

`python -m g3zkp_maint.testing.rendered K8S OUT` writes each overlay, and one with all components, as a file into OUT.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

_RENDER_SECONDS = 60
#: What became stable since Kubernetes 1.20; the fields that are used here are the same.
_BEFORE_1_21 = {
    ("batch/v1", "CronJob"): "batch/v1beta1",
    ("policy/v1", "PodDisruptionBudget"): "policy/v1beta1",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "autoscaling/v2beta2",
}
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"


def render(folder: Path) -> list[Object]:
    """The objects of a kustomization, in the order in which they are applied. Raises CalledProcessError."""
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=_RENDER_SECONDS)
    return list(yaml.safe_load_all(done.stdout))


def render_with(k8s: Path, overlay: str, components: Sequence[str], scratch: Path) -> list[Object]:
    """The same for an overlay with components added, in a copy of the folder `k8s`, and of `monitoring` beside it, below
    `scratch`."""
    for folder in (k8s, k8s.parent / "monitoring"):
        shutil.copytree(folder, scratch / folder.name)
    file = scratch / "k8s" / "overlays" / overlay / "kustomization.yaml"
    document = yaml.safe_load(file.read_text())
    document.setdefault("components", []).extend(f"../../components/{one}" for one in components)
    file.write_text(yaml.safe_dump(document))
    return render(file.parent)


def optional_components(k8s: Path) -> list[str]:
    """Those that an overlay may add. `common` is in all, `backup-exec` a part of `exec-source`."""
    return sorted({folder.name for folder in (k8s / "components").iterdir()} - {"common", "backup-exec"})


def write_all(k8s: Path, out: Path) -> None:
    """A file for each overlay, and one for `production` with all components."""
    found = {folder.name: render(folder) for folder in sorted((k8s / "overlays").iterdir())}
    with tempfile.TemporaryDirectory() as scratch:
        found["production+components"] = render_with(k8s, "production", optional_components(k8s), Path(scratch))
    for name, objects in found.items():
        (out / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))


def for_old_cluster(objects: Iterable[Object]) -> list[Object]:
    """In the API versions of Kubernetes 1.20."""
    return [
        {**one, "apiVersion": _BEFORE_1_21.get((one["apiVersion"], one["kind"]), one["apiVersion"])} for one in objects
    ]


def moved(objects: Iterable[Object], namespaces: Mapping[str, str]) -> list[Object]:
    """In other namespaces: `{"g3zkp": …, "g3zkp-maint": …}`. Volumes, which are of the cluster, get other names too."""
    return [_moved(copy.deepcopy(one), namespaces) for one in objects]


def pod_specs(objects: Iterable[Object]) -> Iterator[tuple[Object, Object]]:
    """Each object that makes pods, with the template of these."""
    for one in objects:
        if one["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield one, one["spec"]["template"]
        elif one["kind"] == "CronJob":
            yield one, one["spec"]["jobTemplate"]["spec"]["template"]


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    return [one for one in objects if one["kind"] in kinds]


def _moved(one: Object, namespaces: Mapping[str, str]) -> Object:
    if one["kind"] == "Namespace":
        one["metadata"]["name"] = namespaces.get(one["metadata"]["name"], one["metadata"]["name"])
    if one["kind"] == "PersistentVolume":
        one["metadata"]["name"] = _volume_name(one["metadata"]["name"], namespaces)
    if "volumeName" in one.get("spec", {}):
        one["spec"]["volumeName"] = _volume_name(one["spec"]["volumeName"], namespaces)
    data = one.get("data", {})
    if one["kind"] == "ConfigMap" and "G3ZKP_PLATFORM__NAMESPACE" in data:
        data["G3ZKP_PLATFORM__NAMESPACE"] = namespaces.get(data["G3ZKP_PLATFORM__NAMESPACE"])
    _rename(one, namespaces)
    return one


def _rename(node: Any, namespaces: Mapping[str, str]) -> None:
    """Wherever a namespace is named: `namespace`, the label that it has by its name, and selectors of that."""
    if isinstance(node, list):
        for item in node:
            _rename(item, namespaces)
    elif isinstance(node, dict):
        if node.get("key") == _NAMESPACE_LABEL:
            node["values"] = [namespaces.get(value, value) for value in node["values"]]
        for key, value in node.items():
            if key in ("namespace", _NAMESPACE_LABEL) and isinstance(value, str):
                node[key] = namespaces.get(value, value)
            else:
                _rename(value, namespaces)


def _volume_name(name: str, namespaces: Mapping[str, str]) -> str:
    """`<namespace>-backups` of the overlay for development."""
    place, _, rest = name.rpartition("-")
    return f"{namespaces.get(place, place)}-{rest}"


if __name__ == "__main__":
    write_all(*map(Path, sys.argv[1:]))
