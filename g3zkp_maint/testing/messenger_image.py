"""The reference messenger as a container image."""

from __future__ import annotations

import hashlib

import messenger
from g3zkp_maint.testing.cluster_image import ClusterImages

REPOSITORY = "g3zkp/messenger"
TAG = f"{REPOSITORY}:latest"
_PARTS = ("server.js", "seed.js", "package.json", "lib", "modules")


def ensure_messenger_image(images: ClusterImages) -> None:
    """Has `g3zkp/messenger:latest` in the cluster."""
    images.ensure(REPOSITORY, _content(), _options)


def _content() -> str:
    digest = hashlib.sha256(messenger.node_binary().encode())
    root = messenger.path()
    for part in _PARTS:
        place = root / part
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file():
                digest.update(f"\0{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _options() -> list[str]:
    added = [word for part in _PARTS for word in ("--add", f"{messenger.path() / part}:/app/{part}")]
    options = ["--bin", messenger.node_binary(), *added, "--workdir", "/app", "--user", "1001", "--dir", "/data:1001"]
    return [*options, "--env", "NODE_PATH=/app/modules", "--", "node", "server.js"]
