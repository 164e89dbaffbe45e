"""The cluster's objects of a backup: can they be parsed, is each one an object, and is what they refer to in the set?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from g3zkp_maint.backup.objects import is_object

#: What is declared, and so must find what it names; what these have made may be older than that.
_DECLARED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob"})
#: Where pod templates name another object: the field that holds the reference, the kind, and where the name is in it.
_REFERENCES = {
    "secretKeyRef": ("Secret", "name"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "secretRef": ("Secret", "name"),
    "configMapRef": ("ConfigMap", "name"),
    "secret": ("Secret", "secretName"),
    "configMap": ("ConfigMap", "name"),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}

#: Missing objects that are named; all are counted.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Parsed:
    """How many objects there are, and of each fault how many. Names of objects are no secret; their content is."""

    objects: int
    faults: dict[str, int]


def parse(text: bytes) -> Parsed:
    """Faults are told, not raised."""
    try:
        documents = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError:  # its message quotes the text
        return Parsed(0, {"no YAML": 1})
    whole = [one for one in documents if is_object(one)]
    there = {(str(one["kind"]), str(one["metadata"]["name"])) for one in whole}
    faults = Counter({"without kind or name": len(documents) - len(whole)})
    declared = [one for one in whole if one["kind"] in _DECLARED]
    missing = sorted({found for one in declared for found in _referred(one)} - there)
    faults["referred to and missing"] = len(missing)
    faults.update(f"{kind} {name} is missing" for kind, name in missing[:_NAMED])
    return Parsed(len(whole), {what: count for what, count in faults.items() if count})


def _referred(node: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of what is referred to and not optional."""
    if isinstance(node, list):
        for one in node:
            yield from _referred(one)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        kind, field = _REFERENCES.get(key, ("", ""))
        if kind and isinstance(value, dict) and isinstance(value.get(field), str) and value.get("optional") is not True:
            yield kind, value[field]
        yield from _referred(value)
