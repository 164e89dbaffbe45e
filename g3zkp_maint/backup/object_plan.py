"""What restoring the cluster's objects is going to do, object by object: pure.

What depends comes after what it depends on, so that nothing starts before its configuration is there. An object that is
as the backup has it is not touched at all. How many instances a workload has is not configuration but state: one that is
there keeps its number, and so an autoscaler is not fought; one that is made gets the backup's.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from g3zkp_maint.backup.objects import Document, Identity, cleaned, identity, is_object

#: Rules before what they hold for, configuration before what reads it, workloads before what scales or exposes them.
#: What is not named, custom resources among it, comes last.
ORDER = (
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolumeClaim",
    "Role",
    "RoleBinding",
    "Endpoints",
    "EndpointSlice",
    "Service",
    "PodTemplate",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "Job",
    "CronJob",
    "HorizontalPodAutoscaler",
    "Ingress",
)
_RANK = {kind: rank for rank, kind in enumerate(ORDER)}
_SCALED = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"})


class Outcome(StrEnum):
    """What becomes, or became, of an object."""

    CREATED = "created"
    CHANGED = "changed"
    SAME = "same"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """`document` is what to apply; its content may be secret, `fields` (paths, never values) is not: what is other than
    now, () for an object that is to be made."""

    identity: Identity
    outcome: Outcome
    fields: tuple[str, ...]
    document: Document = field(repr=False)


def plan_objects(
    wanted: Iterable[Document], live: Iterable[Document], *, held_down: Collection[str] = ()
) -> tuple[PlannedObject, ...]:
    """The plan, in the order in which it is to be carried out.

    `wanted` are a backup's documents (those of an older version may hold what the server set: it is taken out), `live`
    the objects that are there. Workloads named in `held_down` are made with no instance: their data comes first.
    """
    there = {identity(one): one for one in live}
    clean = [cleaned(one) for one in wanted]
    return tuple(_planned(one, there, held_down) for one in in_order(clean))


def in_order(documents: Iterable[Document]) -> list[Document]:
    """What depends after what it depends on."""
    return sorted(documents, key=_place)


def replicas_of(wanted: Iterable[Document], names: Collection[str]) -> dict[str, int]:
    """How many instances the backup has of the workloads `names`; 1 is what a cluster takes where it says nothing."""
    found = [one for one in wanted if one.get("kind") in _SCALED and one["metadata"]["name"] in names]
    return {one["metadata"]["name"]: int((one.get("spec") or {}).get("replicas", 1)) for one in found}


def differences(wanted: Any, found: Any, path: str = "") -> tuple[str, ...]:
    """The paths at which two documents differ, in order. Values are never in it."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        names = sorted({*wanted, *found})
        parts = (_below(wanted, found, name, f"{path}.{name}" if path else str(name)) for name in names)
        return tuple(one for part in parts for one in part)
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(wanted, found, strict=True))
        return tuple(one for number, (a, b) in pairs for one in differences(a, b, f"{path}[{number}]"))
    return () if wanted == found else (path,)


def _below(wanted: Mapping[str, Any], found: Mapping[str, Any], name: str, path: str) -> tuple[str, ...]:
    if (name in wanted) != (name in found):
        return (path,)
    return differences(wanted[name], found[name], path)


def _planned(document: Document, there: Mapping[Identity, Document], held_down: Collection[str]) -> PlannedObject:
    found = identity(document)
    now = there.get(found)
    wanted = _with_instances(document, now, held_down)
    if now is None:
        return PlannedObject(found, Outcome.CREATED, (), wanted)
    fields = differences(wanted, cleaned(now))
    return PlannedObject(found, Outcome.CHANGED if fields else Outcome.SAME, fields, wanted)


def _with_instances(document: Document, now: Document | None, held_down: Collection[str]) -> Document:
    """Said in any case: to leave the number out would give up a field that may be ours, and it would become 1."""
    if document.get("kind") not in _SCALED or not isinstance(document.get("spec"), dict):
        return document
    changed = copy.deepcopy(document)
    if now is not None:
        changed["spec"]["replicas"] = (now.get("spec") or {}).get("replicas", 1)
    elif document["metadata"]["name"] in held_down:
        changed["spec"]["replicas"] = 0
    return changed


def _place(document: Document) -> tuple[int, Identity]:
    if not is_object(document):
        return len(ORDER) + 1, Identity("", "", "")
    found = identity(document)
    is_own = "." not in found.group or found.group.endswith(".k8s.io")
    return _RANK.get(found.kind, len(ORDER)) if is_own else len(ORDER), found
