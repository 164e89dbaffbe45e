"""Images for a cluster of this machine, made by the cluster starter's `image` tool; once for each content."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BUILD_SECONDS = 180
_CTR_SECONDS = 60


@dataclass(frozen=True)
class ClusterImages:
    """`tool` is the program `image`, `state` the folder of the cluster starter."""

    tool: Path
    state: Path

    def ensure(self, repository: str, content: str, options: Callable[[], list[str]]) -> None:
        """Has `<repository>:latest` in the cluster's containerd, with this content. `options` are those that `image` makes
        it by, asked for where it is not there yet."""
        latest, of_content = f"{repository}:latest", f"docker.io/{repository}:{content}"
        with _one_at_a_time(repository):
            if not self._ctr("ls", "-q", f"name=={of_content}"):
                self._build(latest, options())
                self._forget(repository)
                self._ctr("tag", "--force", f"docker.io/{latest}", of_content)
            else:
                # Another checkout may have made `latest` since.
                self._ctr("tag", "--force", of_content, f"docker.io/{latest}")

    def _build(self, tag: str, options: list[str]) -> None:
        done = subprocess.run(
            [self.tool, tag, *options],
            env={**os.environ, "CLUSTER_DIR": str(self.state)},
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"the image {tag} was not made: {done.stdout}{done.stderr}")

    def _forget(self, repository: str) -> None:
        """Those of other contents: each takes as much room as the first."""
        known = self._ctr("ls", "-q", f"name~=^docker.io/{repository}:").split()
        if former := [one for one in known if not one.endswith(":latest")]:
            self._ctr("rm", *former)

    def _ctr(self, *args: str) -> str:
        ctr = ["ctr", "--address", str(self.state / "run" / "containerd.sock"), "--namespace", "k8s.io", "images"]
        done = subprocess.run([*ctr, *args], capture_output=True, text=True, timeout=_CTR_SECONDS, check=False)
        if done.returncode != 0:
            raise AssertionError(f"ctr images {args[0]}: {done.stderr}")
        return done.stdout.strip()


@contextmanager
def _one_at_a_time(repository: str) -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / f"{repository.replace('/', '-')}-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
