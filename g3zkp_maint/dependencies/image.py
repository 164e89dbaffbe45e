"""References of container images (distribution/reference), and which images the pods of a namespace run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_DIGEST = "sha256:"
_DEFAULT = ("", "docker.io", "index.docker.io")


@dataclass(frozen=True, slots=True)
class Image:
    """`registry` is '' for images that are named without a host; `tag` '' where only a digest is named."""

    registry: str
    name: str
    tag: str
    digest: str = ""

    @property
    def shown(self) -> str:
        return "/".join(part for part in (self.registry, self.name) if part) + (f":{self.tag}" if self.tag else "")

    @classmethod
    def parse(cls, reference: str) -> Image:
        """`[host[:port]/]name[:tag][@digest]`; without a tag and a digest it is `latest`."""
        rest, _, digest = reference.partition("@")
        first, slash, other = rest.partition("/")
        has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
        registry, path = (first, other) if has_host else ("", rest)
        name, _, tag = path.partition(":")
        if registry in _DEFAULT:
            # As container runtimes read it: the default registry, and in it the folder of official images.
            registry, name = "", name if "/" in name else f"library/{name}"
        return cls(registry, name, tag or ("" if digest else "latest"), digest)


@dataclass(frozen=True, slots=True)
class Used:
    """An image, who uses it (`Deployment/g3zkp/web`), and the digests that its pods run ('' unknown is left out)."""

    image: Image
    users: tuple[str, ...]
    running: frozenset[str]


def used(workloads: Iterable[tuple[str, str]], pods: Iterable[Mapping[str, Any]]) -> tuple[Used, ...]:
    """`workloads` are (who, reference) of each container; `pods` as the cluster tells them."""
    users: dict[str, set[str]] = {}
    for who, reference in workloads:
        users.setdefault(reference, set()).add(who)
    running = _running(pods)
    return tuple(
        Used(Image.parse(reference), tuple(sorted(users[reference])), frozenset(running.get(reference, ())))
        for reference in sorted(users)
    )


def _running(pods: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """By reference in the pod's own words: digests of repositories. Ids of images in a node's store tell nothing."""
    found: dict[str, set[str]] = {}
    for pod in pods:
        wanted = {one["name"]: str(one.get("image", "")) for one in pod.get("spec", {}).get("containers") or ()}
        for status in pod.get("status", {}).get("containerStatuses") or ():
            _, at, digest = str(status.get("imageID", "")).rpartition("@")
            if at and digest.startswith(_DIGEST):
                found.setdefault(wanted.get(status.get("name", ""), ""), set()).add(digest)
    return found
