"""What the objects of a namespace declare: workloads with their containers, and which labels a selector means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from g3zkp_maint.audit.facts import Object

_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob")
_MADE_BY = {"ReplicaSet": "Deployment", "Job": "CronJob"}


@dataclass(frozen=True, slots=True)
class Workload:
    """Whatever makes pods, or a pod that nothing makes. `spec` is that of its pods."""

    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    spec: Object

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    @property
    def account(self) -> str:
        """The name of its ServiceAccount."""
        return str(self.spec.get("serviceAccountName") or "default")


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a workload, those that run first included."""

    workload: Workload
    spec: Object

    def __str__(self) -> str:
        return f"{self.workload}/{self.spec.get('name')}"

    @property
    def security(self) -> Mapping[str, Any]:
        return self.spec.get("securityContext") or {}

    def effective(self, name: str) -> Any:
        """A field of the security context, of the container's or else of the pod's."""
        own = self.security.get(name)
        return own if own is not None else (self.workload.spec.get("securityContext") or {}).get(name)


def of_kind(objects: Iterable[Object] | None, *kinds: str) -> list[Object]:
    return [one for one in objects or () if one["kind"] in kinds]


def named(one: Object) -> str:
    """`Kind/namespace/name`; without a namespace where it is the cluster's."""
    metadata = one["metadata"]
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{one['kind']}/{place}{metadata['name']}"


def workloads(objects: Iterable[Object] | None) -> list[Workload]:
    """Each once: what a Deployment or CronJob makes, and pods of something listed, stand for nothing of their own."""
    found = list(objects or ())
    there = {(one["kind"], _place(one), _name(one)) for one in of_kind(found, *_TEMPLATED)}
    return [one for found_one in found if (one := _workload(found_one, there)) is not None]


def containers(objects: Iterable[Object] | None) -> Iterator[Container]:
    for workload in workloads(objects):
        for group in ("initContainers", "containers"):
            for one in workload.spec.get(group) or ():
                yield Container(workload, one)


def matches(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector of Kubernetes means an object with these labels; an empty one means each."""
    selector = selector or {}
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(term, labels) for term in selector.get("matchExpressions") or ()
    )


def _holds(term: Object, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(term["key"]), term.get("values") or ()
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[term["operator"]]


def _workload(one: Object, there: set[tuple[str, str, str]]) -> Workload | None:
    kind = one["kind"]
    if kind not in (*_TEMPLATED, "Pod") or _is_of_another(one, there):
        return None
    template = one if kind == "Pod" else _template(one)
    labels = (template.get("metadata") or {}).get("labels") or {}
    return Workload(kind, _place(one), _name(one), labels, template.get("spec") or {})


def _template(one: Object) -> Object:
    spec: Object = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one["spec"]
    template: Object = spec["template"]
    return template


def _is_of_another(one: Object, there: set[tuple[str, str, str]]) -> bool:
    """Whether what controls it is among the objects. A ReplicaSet that was not listed is known by its Deployment's name,
    a Job by its CronJob's: theirs are that one's and a suffix."""
    for owner in one["metadata"].get("ownerReferences") or ():
        kind, name = str(owner["kind"]), str(owner["name"])
        maker = _MADE_BY.get(kind, "")
        if (kind, _place(one), name) in there or (maker, _place(one), name.rpartition("-")[0]) in there:
            return True
    return False


def _place(one: Object) -> str:
    return str(one["metadata"].get("namespace", ""))


def _name(one: Object) -> str:
    return str(one["metadata"]["name"])
