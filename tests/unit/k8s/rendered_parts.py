"""Of rendered manifests the parts that tests ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from g3zkp_maint.testing.rendered import Object, of_kind, optional_components, pod_specs

K8S = Path(__file__).parents[3] / "k8s"
COMPONENTS = optional_components(K8S)

#: By name; see the fixture of that name.
Overlays = dict[str, list[Object]]


def name_of(one: Object) -> str:
    return str(one["metadata"]["name"])


def place_of(one: Object) -> str:
    return str(one["metadata"]["namespace"])


def matches(selector: Object, labels: Object) -> bool:
    assert set(selector) <= {"matchLabels"}, "this test understands matchLabels only"
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def own(objects: list[Object]) -> Iterator[tuple[Object, Object, Object]]:
    """Ours: each object that makes pods, their template, and the one container."""
    for one, template in pod_specs(objects):
        if name_of(one) != "broker":
            (container,) = template["spec"]["containers"]
            yield one, template, container


def environment(container: Object, objects: list[Object], namespace: str) -> dict[str, str]:
    maps = {(place_of(one), name_of(one)): one["data"] for one in of_kind(objects, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= maps[namespace, source["configMapRef"]["name"]]
    return found | {one["name"]: one["value"] for one in container["env"]}


def named(objects: list[Object], name: str) -> tuple[Object, Object, Object]:
    return next(found for found in own(objects) if name_of(found[0]) == name)
