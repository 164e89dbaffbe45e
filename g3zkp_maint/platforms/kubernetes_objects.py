"""The objects of a namespace: all that discovery lists, read page by page, and applied one by one.

A fixed list of kinds forgets the custom resources, so the server is asked what it serves. Each kind is read once, in the
version that its group prefers, or else the first one in which it is served. A group that does not answer is an error: a
backup that lacks its kinds would not say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from g3zkp_maint.errors import (
    Conflict,
    ObjectRefused,
    PermanentError,
    PlatformDenied,
    PlatformError,
    PlatformUnavailable,
    UnknownWorkload,
)
from g3zkp_maint.platforms.kubernetes_client import KubernetesClient

#: In whose name fields are set, so that the next apply knows which ones it may take away.
FIELD_MANAGER = "g3zkp-maint"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML

#: Not objects that somebody declares: what happened, who leads at this moment, and what is measured when it is asked for.
_LEFT_OUT = frozenset({("", "events"), ("events.k8s.io", "events"), ("coordination.k8s.io", "leases")})
_MEASURED = frozenset({"metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"})
_APPLY_TRIES = 4
_UNREADABLE = re.compile("failed to create typed patch object|failed to convert new object")


@dataclass(frozen=True, slots=True)
class Kind:
    """A namespaced kind as the server serves it: `resource` is its name in paths, `api` as in `apiVersion`."""

    api: str
    kind: str
    resource: str
    is_listable: bool
    is_patchable: bool

    @property
    def group(self) -> str:
        return self.api.rpartition("/")[0]


class KubernetesObjects:
    """See Platform.objects and Platform.apply. What is served is asked for once and remembered: make another one to see
    kinds that came later."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._found: tuple[Kind, ...] | None = None

    def all(self) -> list[dict[str, Any]]:
        """Every object that can be listed, as the server writes it. Raises PlatformDenied for a kind that may not be
        listed, PlatformUnavailable for a group that does not answer."""
        return [one for kind in _each_once(self._kinds()) for one in self._listed(kind)]

    def apply(self, document: Mapping[str, Any], *, dry_run: bool) -> dict[str, Any]:
        """See Platform.apply. Fields that another manager set are taken over: a backup's word counts."""
        query = [("fieldManager", FIELD_MANAGER), ("force", "true"), *_dry(dry_run)]
        for last in range(_APPLY_TRIES):
            try:
                return self._written("PATCH", document, query, APPLY_PATCH)
            except Conflict:
                # It changed between the server's reading and writing; what we want does not depend on what it was.
                if last == _APPLY_TRIES - 1:
                    raise
        raise AssertionError("the loop returns or raises")

    def replace(self, document: Mapping[str, Any], *, dry_run: bool) -> dict[str, Any]:
        """See Platform.replace."""
        return self._written("PUT", document, [("fieldManager", FIELD_MANAGER), *_dry(dry_run)], "application/json")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _written(
        self, method: str, document: Mapping[str, Any], query: list[tuple[str, str]], content_type: str
    ) -> dict[str, Any]:
        kind = self._served(document)
        name = str(document["metadata"]["name"])
        body = {**document, "metadata": {**document["metadata"], "namespace": self._client.namespace}}
        path = self._client.path(kind.resource, name, api=kind.api)
        try:
            return self._client.request(method, path, body=body, query=query, content_type=content_type)
        except Conflict:
            raise
        except PlatformUnavailable as error:
            # What cannot be read as an object of this kind is answered by 500, as if it could pass.
            if not _UNREADABLE.search(str(error)):
                raise
            raise ObjectRefused(
                f"{kind.kind}/{name}: the cluster cannot read it as {kind.kind} of {kind.api}"
            ) from error
        except (PermanentError, PlatformError) as error:
            raise _refused(kind, name, error) from error

    def _listed(self, kind: Kind) -> list[dict[str, Any]]:
        """Items of a list name neither version nor kind."""
        try:
            items = self._client.list(self._client.path(kind.resource, api=kind.api))
        except UnknownWorkload:
            return []  # the kind was removed since discovery
        return [{"apiVersion": kind.api, "kind": kind.kind, **one} for one in items]

    def _served(self, document: Mapping[str, Any]) -> Kind:
        api, name = str(document.get("apiVersion")), str(document.get("kind"))
        found = [one for one in self._kinds() if one.kind == name and one.group == api.rpartition("/")[0]]
        exact = [one for one in found if one.api == api]
        what = f"{name}/{document['metadata']['name']}"
        if not found:
            raise ObjectRefused(
                f"{what}: the cluster serves no namespaced kind {name} of {api}; install its definition"
            )
        if not exact:
            served = ", ".join(one.api for one in found)
            raise ObjectRefused(f"{what}: the cluster serves no {api}, but {served}; convert it and apply it by hand")
        if not exact[0].is_patchable:
            raise ObjectRefused(f"{what}: a {name} cannot be applied")
        return exact[0]

    def _kinds(self) -> tuple[Kind, ...]:
        if self._found is None:
            self._found = tuple(self._discovered())
        return self._found

    def _discovered(self) -> Iterator[Kind]:
        """Of each group the preferred version first."""
        for version in self._client.get("/api")["versions"]:
            yield from self._resources(version, f"/api/{version}")
        for group in self._client.get("/apis")["groups"]:
            if group["name"] in _MEASURED:
                continue
            preferred = group["preferredVersion"]["groupVersion"]
            others = [one["groupVersion"] for one in group["versions"] if one["groupVersion"] != preferred]
            for version in (preferred, *others):
                yield from self._resources(version, f"/apis/{version}")

    def _resources(self, api: str, path: str) -> Iterator[Kind]:
        for one in self._client.get(path)["resources"]:
            if one["namespaced"] and "/" not in one["name"]:
                verbs = one["verbs"]
                yield Kind(api, one["kind"], one["name"], "list" in verbs, "patch" in verbs)


def _dry(dry_run: bool) -> list[tuple[str, str]]:
    return [("dryRun", "All")] if dry_run else []


def _each_once(kinds: tuple[Kind, ...]) -> Iterator[Kind]:
    seen: set[tuple[str, str]] = set()
    for one in kinds:
        key = one.group, one.resource
        if one.is_listable and key not in seen | _LEFT_OUT:
            seen.add(key)
            yield one


def _refused(kind: Kind, name: str, error: Exception) -> ObjectRefused:
    what = f"{kind.kind}/{name}"
    if isinstance(error, UnknownWorkload):
        return ObjectRefused(f"{what}: its namespace or kind is not there; create the namespace first")
    if isinstance(error, ObjectRefused | PlatformDenied):
        return ObjectRefused(f"{what}: {error}")
    return ObjectRefused(f"{what}: {error}; look at it with g3zkp-maint backup extract, and apply it by hand")
