"""Secrets as files in the shape that Kubernetes gives them, with its optimistic concurrency.

`resourceVersion` counts up with each change under the folder's lock; a patch that names an older one is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from g3zkp_maint.errors import Conflict, PlatformError, UnknownWorkload
from g3zkp_maint.platforms.base import SecretData
from g3zkp_maint.platforms.local_files import locked, read_document, write_document
from g3zkp_maint.platforms.local_workload import checked_name


def create_secret(folder: Path, name: str, *, namespace: str, data: Mapping[str, bytes]) -> None:
    """Makes a Secret where there is none of that name; leaves one that is there as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{checked_name(name)}.json"
    with locked(folder):
        if path.exists():
            return
        metadata = {"name": name, "namespace": namespace, "resourceVersion": "1", "annotations": {}}
        write_document(path, _document(metadata, data))


def read_secret(folder: Path, name: str) -> SecretData:
    """Raises UnknownWorkload where there is none."""
    return _decoded(_loaded(folder, name), name)


def patch_secret(
    folder: Path,
    name: str,
    *,
    resource_version: str,
    data: Mapping[str, bytes | None],
    annotations: Mapping[str, str | None],
) -> SecretData:
    """See Platform.patch_secret."""
    with locked(folder):
        current = _decoded(_loaded(folder, name), name)
        if current.resource_version != resource_version:
            raise Conflict(
                f"secret {name} is at version {current.resource_version}, not {resource_version}: another changed it; "
                "read it again and decide again"
            )
        document = _loaded(folder, name)
        metadata = {
            **document["metadata"],
            "resourceVersion": str(int(resource_version) + 1),
            "annotations": _merged(current.annotations, annotations),
        }
        changed = _document(metadata, _merged(current.data, data))
        write_document(folder / f"{name}.json", changed)
    return _decoded(changed, name)


def _document(metadata: Mapping[str, Any], data: Mapping[str, bytes]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": dict(metadata), "data": encoded}


def _merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**old, **patch}.items() if value is not None}


def _loaded(folder: Path, name: str) -> dict[str, Any]:
    document = read_document(folder / f"{checked_name(name)}.json")
    if document is None:
        raise UnknownWorkload(f"there is no secret {name!r}; g3zkp-maint up makes those that are needed")
    return document


def _decoded(document: dict[str, Any], name: str) -> SecretData:
    try:
        metadata = document["metadata"]
        data = {key: base64.b64decode(value, validate=True) for key, value in document["data"].items()}
        return SecretData(name, metadata["resourceVersion"], data, dict(metadata["annotations"]))
    except (KeyError, TypeError, AttributeError, binascii.Error):
        # The cause would show the content.
        raise PlatformError(f"the file of secret {name} cannot be understood; restore it or remove it") from None
