"""Secrets and ConfigMaps of the embedded stack, applied: files in the state folder, changed under its writer's lock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from g3zkp_maint.errors import ObjectRefused
from g3zkp_maint.platforms.local_files import locked, read_document, write_document
from g3zkp_maint.platforms.local_workload import checked_name

FOLDERS = {"Secret": "secrets", "ConfigMap": "configmaps"}


def apply(state: Path, document: Mapping[str, Any], *, namespace: str, dry_run: bool) -> dict[str, Any]:
    """See Platform.apply. Raises ObjectRefused for what is no Secret and no ConfigMap."""
    kind, name = str(document.get("kind")), checked_name(str(document["metadata"]["name"]))
    if document.get("apiVersion") != "v1" or kind not in FOLDERS:
        raise ObjectRefused(
            f"{kind}/{name} is not applied here: the embedded stack declares it from its own settings (g3zkp-maint up)"
        )
    folder = state / FOLDERS[kind]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    with locked(folder):
        before = read_document(path) or {}
        after = _merged(before, document, namespace)
        if dry_run or after == before:
            return after
        version = int(before.get("metadata", {}).get("resourceVersion", "0")) + 1
        after["metadata"]["resourceVersion"] = str(version)
        write_document(path, after)
    return after


def _merged(before: Mapping[str, Any], document: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """What is not in the document stays; annotations are always there, as patches of Secrets expect."""
    metadata = {"annotations": {}, **_over(before.get("metadata", {}), document["metadata"]), "namespace": namespace}
    return {**_over(before, document), "metadata": metadata}


def _over(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for key, value in after.items():
        former = merged.get(key)
        is_deep = isinstance(former, Mapping) and isinstance(value, Mapping)
        merged[key] = _over(former, value) if is_deep else value  # type: ignore[arg-type]
    return merged
