"""Secrets and ConfigMaps of the embedded stack, applied: files in the state folder, changed under its writer's lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from g3zkp_maint.errors import Conflict, ObjectRefused
from g3zkp_maint.platforms.local_files import locked, read_document, write_document
from g3zkp_maint.platforms.local_workload import checked_name

FOLDERS = {"Secret": "secrets", "ConfigMap": "configmaps"}


def apply(state: Path, document: Mapping[str, Any], *, namespace: str, dry_run: bool) -> dict[str, Any]:
    """See Platform.apply. Raises ObjectRefused for what is no Secret and no ConfigMap."""
    with _changing(state, document) as (path, before):
        return _written(path, before, _merged(before, document, namespace), dry_run=dry_run)


def replace(state: Path, document: Mapping[str, Any], *, namespace: str, dry_run: bool) -> dict[str, Any]:
    """See Platform.replace. Raises ObjectRefused as `apply` does, and where there is no such object; Conflict."""
    with _changing(state, document) as (path, before):
        wanted, now = (one.get("metadata", {}).get("resourceVersion") for one in (document, before))
        if not before:
            raise ObjectRefused(f"{document['kind']}/{path.stem} is not there to be replaced")
        if wanted != now:
            raise Conflict(f"{document['kind']}/{path.stem} is at version {now}, not {wanted}: read it again")
        return _written(path, before, _merged({}, document, namespace), dry_run=dry_run)


@contextmanager
def _changing(state: Path, document: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Where the object is, and what is there, {} for nothing, while nobody else writes."""
    kind, name = str(document.get("kind")), checked_name(str(document["metadata"]["name"]))
    if document.get("apiVersion") != "v1" or kind not in FOLDERS:
        raise ObjectRefused(
            f"{kind}/{name} is not applied here: the embedded stack declares it from its own settings (g3zkp-maint up)"
        )
    folder = state / FOLDERS[kind]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    with locked(folder):
        yield path, read_document(path) or {}


def _written(path: Path, before: dict[str, Any], after: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
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
