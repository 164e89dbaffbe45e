"""What a pod's document says: pure functions on objects as the API server writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from g3zkp_maint.errors import PlatformError
from g3zkp_maint.platforms.base import Instance

Object = dict[str, Any]

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def name_of(document: Mapping[str, Any]) -> str:
    return str(document["metadata"]["name"])


def is_ending(document: Mapping[str, Any]) -> bool:
    """Whether it was asked to go."""
    return document["metadata"].get("deletionTimestamp") is not None


def is_finished(pod: Mapping[str, Any]) -> bool:
    """Whether none of its containers runs any more, nor will: evicted pods, for one, stay as documents."""
    return pod["status"].get("phase") in {"Succeeded", "Failed"}


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return not is_ending(pod) and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def owner_uid(document: Mapping[str, Any]) -> str | None:
    """The uid of the object that controls it."""
    owners = document["metadata"].get("ownerReferences", [])
    return next((str(one["uid"]) for one in owners if one.get("controller")), None)


def selector_of(workload: Mapping[str, Any]) -> str:
    """A workload's selector as the API takes it in `labelSelector`."""
    selector = workload["spec"]["selector"]
    terms = [f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items())]
    return ",".join(terms + [_term(one) for one in selector.get("matchExpressions", [])])


def _term(expression: Mapping[str, Any]) -> str:
    key, values = expression["key"], ",".join(expression.get("values", []))
    terms: dict[str, str] = {
        "In": f"{key} in ({values})",
        "NotIn": f"{key} notin ({values})",
        "Exists": key,
        "DoesNotExist": f"!{key}",
    }
    return terms[expression["operator"]]


def container_of(spec: Mapping[str, Any], wanted: str, annotations: Mapping[str, str] | None = None) -> Object:
    """The container of a pod's spec by that name, else the one that the annotations name, else the only one.

    Raises PlatformError where there is a choice and none of them is it."""
    containers: Sequence[Object] = spec["containers"]
    named = {one["name"]: one for one in containers}
    for name in (wanted, (annotations or {}).get(_DEFAULT_CONTAINER)):
        if name in named:
            return named[name]
    if len(containers) == 1:
        return containers[0]
    raise PlatformError(
        f"the pod has no container {wanted!r}, there are: {', '.join(named)}; set platform.kubernetes.container "
        "(redis_container for Redis)"
    )


def instance_of(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Instance:
    """See Instance. The address is of the container's first port."""
    host = pod["status"].get("podIP")
    ports = container.get("ports", [])
    if not host:
        return Instance(name_of(pod), is_ready(pod), None)
    shown = f"[{host}]" if ":" in host else host
    return Instance(name_of(pod), is_ready(pod), f"{shown}:{ports[0]['containerPort']}" if ports else shown)


def told(pods: Iterable[Mapping[str, Any]]) -> str:
    """What keeps pods from being ready, or gone, for a message."""
    return "; ".join(f"{name_of(pod)} {_state(pod)}" for pod in pods) or "there is no pod"


def _state(pod: Mapping[str, Any]) -> str:
    if is_ending(pod):
        return "is being ended"
    if is_ready(pod):
        return "is ready"
    status = pod["status"]
    states = [one.get("state", {}) for one in status.get("containerStatuses", [])]
    reasons = [one[kind].get("reason", "") for one in states for kind in ("waiting", "terminated") if kind in one]
    blocked = [
        f"{one.get('reason')}: {one.get('message', '')}"
        for one in status.get("conditions", [])
        if one["type"] == "PodScheduled" and one["status"] == "False"
    ]
    why = ", ".join(filter(None, [*reasons, *blocked, status.get("reason")]))
    return f"is {status.get('phase', 'unknown')} and not ready" + (f" ({why[:300]})" if why else "")
