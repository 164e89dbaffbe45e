"""A messenger in a real cluster for tests, deployed as the real one is; it and its namespace are gone afterwards.

Its volumes are folders of this machine, so a test can look at and damage what the pods see. The cluster must be one that
runs here (tests/conftest.py, `kubeconfig`), with the starter's `image` tool.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import messenger
from g3zkp_maint.testing import messenger_manifests as manifests
from g3zkp_maint.testing.cluster_image import ClusterImages
from g3zkp_maint.testing.kubectl import Kubectl
from g3zkp_maint.testing.messenger_image import ensure_messenger_image
from g3zkp_maint.testing.messenger_manifests import SiteOptions

#: By this label a namespace and a volume are known to be a test's, and may be removed.
LABELS = {"g3zkp-maint.test/site": "yes"}

_ROLLOUT_SECONDS = 180
_REMOVAL_SECONDS = 180

_NEW_KEYS = """
const { KEY_TYPES, ensureKeys, loadKeys } = require('@g3zkp/crypto/keys');
ensureKeys('');
const { inUse } = loadKeys('');
console.log(JSON.stringify(Object.fromEntries(KEY_TYPES.map((type) => {
  const { privateKey, ...open } = inUse[type];
  return [`${type}-key`, open];
}))));
"""


@dataclass(frozen=True)
class ClusterSite:
    """`namespace` is the site's own; `starter` is the folder with the `image` tool, `state` that of the cluster."""

    kubeconfig: Path
    namespace: str
    starter: Path
    state: Path
    options: SiteOptions = field(default_factory=SiteOptions)
    redis_password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @cached_property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.kubeconfig, self.namespace)

    @property
    def folder(self) -> Path:
        return Path(tempfile.gettempdir()) / "g3zkp-cluster-sites" / self.namespace

    @property
    def data_dir(self) -> Path:
        """The messenger's `/data`."""
        return self.folder / "data"

    @property
    def redis_dir(self) -> Path:
        """The messenger's Redis's `/data`."""
        return self.folder / "redis"

    # -- coming and going ----------------------------------------------------------------------------------------------

    def deploy(self) -> None:
        """Comes up on an empty namespace, removing what an earlier test left of it; returns when all is ready."""
        ensure_messenger_image(ClusterImages(self.starter / "image", self.state))
        if self._exists():
            self.remove()
        keys = self._fresh_folders()
        self.kubectl.apply(
            [
                manifests.namespace(self.namespace, LABELS),
                manifests.volumes(self.namespace, self.data_dir, "g3zkp-data-pvc", LABELS),
                manifests.volumes(self.namespace, self.redis_dir, manifests.REDIS_CLAIM, LABELS),
                *self._namespaced(keys),
            ]
        )
        self.wait_ready()

    def _namespaced(self, keys: dict[str, bytes]) -> list[manifests.Object]:
        return [
            *manifests.redis(self.options, self.redis_password),
            *manifests.messenger(self.options, keys),
            *manifests.bystander(),
        ]

    def wait_ready(self, deadline_seconds: float = _ROLLOUT_SECONDS) -> None:
        """Returns when every instance of every workload is ready."""
        redis = f"{self.options.redis_kind.lower()}/redis"
        for workload in (redis, "deployment/g3zkp-messenger", f"deployment/{manifests.BYSTANDER}"):
            timeout = f"--timeout={deadline_seconds:g}s"
            self.kubectl("rollout", "status", workload, timeout, timeout_seconds=deadline_seconds + 10)

    def remove(self) -> None:
        """Nothing is left of it. Refuses a namespace that no test made."""
        if self._exists():
            labels = self.kubectl.get("namespace", self.namespace)["metadata"].get("labels", {})
            if not LABELS.items() <= labels.items():
                raise AssertionError(f"namespace {self.namespace} is not a test's: it stays")
            # Pods have nothing to end in good order here, and their grace would be waited for. Nothing may make new ones
            # meanwhile: the namespace would wait for those.
            makers = "deployments,replicasets,statefulsets,jobs,cronjobs"
            self.kubectl("delete", makers, "--all", "--cascade=orphan", "--wait=false")
            self.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")
            self.kubectl(
                "delete",
                "namespace",
                self.namespace,
                f"--timeout={_REMOVAL_SECONDS}s",
                timeout_seconds=_REMOVAL_SECONDS,
            )
        for claim in ("g3zkp-data-pvc", manifests.REDIS_CLAIM):
            self.kubectl("delete", "persistentvolume", f"{self.namespace}-{claim}", "--ignore-not-found")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _exists(self) -> bool:
        return bool(self.kubectl("get", "namespace", self.namespace, "--ignore-not-found", "-o", "name").strip())

    def _fresh_folders(self) -> dict[str, bytes]:
        """Empty volumes, the messenger's with a key of each type; returns the Secret that names these."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.data_dir.mkdir(parents=True)
        self.redis_dir.mkdir()
        environment = {**os.environ, "NODE_PATH": str(messenger.path() / "modules"), "G3ZKP_DATA": str(self.data_dir)}
        made = subprocess.run(
            [messenger.node_binary(), "-e", _NEW_KEYS], env=environment, capture_output=True, check=True, timeout=60
        )
        _own(self.data_dir, manifests.MESSENGER_UID)
        _own(self.redis_dir, manifests.REDIS_UID)
        return {name: json.dumps(key).encode() for name, key in json.loads(made.stdout).items()}

    # -- use -----------------------------------------------------------------------------------------------------------

    def exec(self, *argv: str, stdin: bytes | None = None, timeout_seconds: float = 300) -> bytes:
        """stdout of a command in a pod of the messenger."""
        return self.kubectl.exec("deploy/g3zkp-messenger", *argv, stdin=stdin, timeout_seconds=timeout_seconds)

    def seed(self, size: str = "10M", *, files: int | None = None, redis_keys: int = 500, seed: str = "1") -> Any:
        """Fills data folder and Redis as messenger/seed.js does; the data folder must have no blocks yet. Returns what
        it says of it."""
        number = ["--files", str(files)] if files is not None else []
        return self._seeded("--bytes", size, *number, "--seed", seed, redis_keys=redis_keys)

    def change(self, percent: float, *, redis_keys: int = 500, seed: str = "1") -> Any:
        """A day's changes."""
        return self._seeded("--change", f"{percent:g}", "--seed", seed, redis_keys=redis_keys)

    def _seeded(self, *argv: str, redis_keys: int) -> Any:
        redis = [
            "--redis",
            self.redis_address,
            "--redis-password-env",
            "REDIS_PASSWORD",
            "--redis-keys",
            str(redis_keys),
        ]
        return json.loads(self.exec("node", "seed.js", "--json", *argv, *redis, timeout_seconds=600))

    @property
    def redis_address(self) -> str:
        """host:port of the messenger's Redis; there is no DNS."""
        return f"{self.cluster_ip('redis')}:6379"

    @property
    def redis_url(self) -> str:
        """Holds the password."""
        return f"redis://:{self.redis_password}@{self.redis_address}/0"

    @property
    def messenger_url(self) -> str:
        return f"http://{self.cluster_ip('g3zkp-service')}:3000"

    def cluster_ip(self, service: str) -> str:
        return str(self.kubectl.get("service", service)["spec"]["clusterIP"])

    def bystander(self) -> list[Any]:
        """What would be other if anybody had touched the workload that nobody may touch: its Deployment, its Secret, its pods.
        Without annotations and the generation that comes with them: a test may apply it anew as it is."""
        objects = self.kubectl.get(f"deployment/{manifests.BYSTANDER}", f"secret/{manifests.BYSTANDER}")["items"]
        found = [[one["metadata"]["uid"], one.get("spec"), one.get("data")] for one in objects]
        for pod in self.kubectl.get("pods", "-l", f"app={manifests.BYSTANDER}")["items"]:
            restarts = sum(one["restartCount"] for one in pod["status"]["containerStatuses"])
            found.append([pod["metadata"]["uid"], pod["metadata"].get("deletionTimestamp"), restarts])
        return found

    def pods(self, app: str = "g3zkp") -> list[str]:
        """The names of the pods of an app (`g3zkp`, `redis`, `bystander`) that are not being ended."""
        found = self.kubectl.get("pods", "-l", f"app={app}")["items"]
        return sorted(pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"])


def _own(folder: Path, uid: int) -> None:
    for place in [folder, *folder.rglob("*")]:
        os.chown(place, uid, uid)


@contextmanager
def cluster_site(site: ClusterSite) -> Iterator[ClusterSite]:
    """Deploys it, and removes it afterwards, also after a deployment that failed. Raises AssertionError where anybody has
    touched the bystander."""
    try:
        site.deploy()
        before = site.bystander()
        yield site
        now = site.bystander()
        if now != before:
            raise AssertionError(f"the bystander in {site.namespace} was touched; it was {before} and is {now}")
    finally:
        site.remove()
