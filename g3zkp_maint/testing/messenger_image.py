"""The reference messenger as a container image, made by the cluster starter's `image` tool; once for each content."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import messenger

TAG = "g3zkp/messenger:latest"
_PARTS = ("server.js", "seed.js", "package.json", "lib", "modules")
_BUILD_SECONDS = 120


def ensure_messenger_image(image_tool: Path, state: Path) -> None:
    """Has `g3zkp/messenger:latest` in the cluster's containerd. `state` is the cluster starter's folder."""
    ctr = ["ctr", "--address", str(state / "run" / "containerd.sock"), "--namespace", "k8s.io", "images"]
    of_content = f"docker.io/g3zkp/messenger:{_content()}"
    with _one_at_a_time():
        if not _ctr(ctr, "ls", "-q", f"name=={of_content}"):
            _build(image_tool, state)
            _ctr(ctr, "tag", "--force", f"docker.io/{TAG}", of_content)
        else:
            # Another checkout may have made `latest` since.
            _ctr(ctr, "tag", "--force", of_content, f"docker.io/{TAG}")


def _content() -> str:
    digest = hashlib.sha256(messenger.node_binary().encode())
    root = messenger.path()
    for part in _PARTS:
        place = root / part
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file():
                digest.update(f"\0{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _build(image_tool: Path, state: Path) -> None:
    added = [word for part in _PARTS for word in ("--add", f"{messenger.path() / part}:/app/{part}")]
    options = ["--bin", messenger.node_binary(), *added, "--workdir", "/app", "--user", "1001", "--dir", "/data:1001"]
    modules = ["--env", "NODE_PATH=/app/modules"]
    done = subprocess.run(
        [image_tool, TAG, *options, *modules, "--", "node", "server.js"],
        env={**os.environ, "CLUSTER_DIR": str(state)},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"the messenger's image was not made: {done.stdout}{done.stderr}")


def _ctr(ctr: list[str], *args: str) -> str:
    done = subprocess.run([*ctr, *args], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"ctr images {args[0]}: {done.stderr}")
    return done.stdout.strip()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / "g3zkp-messenger-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
