"""The product in a cluster by k8s/, overlay `dev`, beside a messenger: as docs/deploy.md says, with three liberties. The
cluster is older than the manifests; it has no DNS, so the broker is known by its address; and the folder of the store is one
of the test's."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from api_server_address import reachable_api_server

from g3zkp_maint.keys.fleets import KEY_FILES
from g3zkp_maint.testing.cluster_image import ClusterImages
from g3zkp_maint.testing.cluster_site import LABELS, ClusterSite
from g3zkp_maint.testing.kubectl import Kubectl
from g3zkp_maint.testing.maintenance_image import ensure_maintenance_image
from g3zkp_maint.testing.rendered import Object, for_old_cluster, moved, of_kind, render

ROOT = Path(__file__).parents[2]
FLEETS = ("backup", "crypto", "cleanup", "observe")
LOGIN = ("operator", "a-test's-password")
_STORE = "/var/lib/g3zkp-maint/backups"
_UID = 1001
#: For the benchmark and the look at versions, of which no registry is reached from here; on a Sunday at three too.
_BRIEFLY = """[performance]
requests = 40
seconds = 2
[dependencies]
answer_seconds = 1
[windows]
recurring = []
"""
_READY_SECONDS = 180
_REMOVAL_SECONDS = 120


@dataclass(frozen=True)
class Deployment:
    """`site` is the messenger; the rest of the product is in a namespace beside its own. `folder` is the test's."""

    site: ClusterSite
    folder: Path

    @cached_property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.site.kubeconfig, f"{self.site.namespace}-maint")

    @cached_property
    def objects(self) -> list[Object]:
        """What is applied."""
        places = {"g3zkp": self.site.namespace, "g3zkp-maint": self.kubectl.namespace}
        found = for_old_cluster(moved(render(ROOT / "k8s" / "overlays" / "dev"), places))
        for one in of_kind(found, "Namespace", "PersistentVolume"):
            one["metadata"].setdefault("labels", {}).update(LABELS)
        for one in of_kind(found, "PersistentVolume"):
            assert one["spec"]["hostPath"]["path"] == _STORE
            one["spec"]["hostPath"]["path"] = str(self.store)
        return found

    @property
    def store(self) -> Path:
        """The folder that has the backups."""
        return self.site.folder / "backups"

    # -- coming and going ----------------------------------------------------------------------------------------------

    def deploy(self) -> None:
        """Returns when every pod is ready."""
        ensure_maintenance_image(ClusterImages(self.site.starter / "image", self.site.state), ROOT, self.folder)
        self.remove()
        for folder in (self.store, self.store / "reports"):
            folder.mkdir(mode=0o700)
            os.chown(folder, _UID, _UID)
        self.kubectl.apply(of_kind(self.objects, "Namespace"))
        # A Service first: its address is in the Secrets, and pods that wait for Secrets are slow to try again.
        self._apply(of_kind(self.objects, "Service"))
        self._apply(self._secrets())
        self._apply(self.objects)
        self.wait_ready()

    def _apply(self, objects: list[Object]) -> None:
        """In the namespaces that they name."""
        Kubectl(self.site.kubeconfig, "").apply(objects)

    def wait_ready(self) -> None:
        """Raises AssertionError with what the pods say."""
        for one in of_kind(self.objects, "Deployment"):
            name, kubectl = one["metadata"]["name"], Kubectl(self.site.kubeconfig, one["metadata"]["namespace"])
            wait = ["rollout", "status", f"deployment/{name}", f"--timeout={_READY_SECONDS}s"]
            done = kubectl.run(*wait, timeout_seconds=_READY_SECONDS + 10)
            if done.returncode != 0:
                pods = kubectl.run("get", "pods", "-o", "wide").stdout + kubectl.run("get", "events").stdout
                logs = kubectl.run("logs", "-l", f"app.kubernetes.io/name={name}", "--tail=30", "--prefix").stdout
                raise AssertionError(f"{name} is not ready: {done.stderr!r}\n{(pods + logs).decode()}")

    def remove(self) -> None:
        """All that is not in the messenger's namespace; there, what would keep its pods for as long as workers may take."""
        ours = "app.kubernetes.io/part-of=g3zkp-maint"
        for kubectl in (self.kubectl, self.site.kubectl):
            # First what makes pods anew.
            kubectl("delete", "deployments,replicasets,cronjobs,jobs", "-l", ours, "--cascade=orphan")
            kubectl("delete", "pods", "-l", ours, "--force", "--grace-period=0", "--wait=false")
        gone = ["delete", "namespace", self.kubectl.namespace, "--ignore-not-found", f"--timeout={_REMOVAL_SECONDS}s"]
        self.kubectl(*gone, timeout_seconds=_REMOVAL_SECONDS)
        # One of them is claimed in the messenger's namespace, and stays until that goes.
        volumes = [one["metadata"]["name"] for one in of_kind(self.objects, "PersistentVolume")]
        self.kubectl("delete", "persistentvolumes", *volumes, "--ignore-not-found", "--wait=false")

    # -- Secrets, as docs/deploy.md lists them -------------------------------------------------------------------------

    def _secrets(self) -> list[Object]:
        password = secrets.token_urlsafe(24)
        broker = f'[redis]\nurl = "redis://:{password}@{self.address("broker")}:6379/0"\n'
        messenger = f'[backup]\nredis_url = "{self.site.redis_url}"\n'
        keys = self._keys()
        settings = dict.fromkeys([*(f"worker-{one}" for one in FLEETS), "exporter", "beat", "flower"], broker)
        settings |= dict.fromkeys(("worker-backup", "worker-crypto"), broker + messenger)
        settings["worker-observe"] = broker + _BRIEFLY
        files = {name: {"settings.toml": text.encode()} for name, text in settings.items()}
        for fleet in FLEETS:
            files[f"worker-{fleet}"] |= {name: (keys / fleet / name).read_bytes() for _, name in KEY_FILES[fleet]}
        files["exporter"]["signers.txt"] = (keys / "observe" / "signers.txt").read_bytes()
        files["flower"]["flowerconfig.py"] = f"basic_auth = [{':'.join(LOGIN)!r}]\n".encode()
        files["broker"] = {"redis.conf": f"requirepass {password}\n".encode()}
        return [self._secret(name, found) for name, found in files.items()]

    def _keys(self) -> Path:
        folder = self.folder / "keys"
        command = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "recovery", "init"]
        options = ["--dir", str(folder), "--for-crypto-fleet", "--identity-file", str(self.folder / "identity")]
        subprocess.run([*command, *options], check=True, capture_output=True, timeout=60)
        return folder

    def _secret(self, name: str, files: Mapping[str, bytes]) -> Object:
        place = self.site.namespace if name == "worker-backup" else self.kubectl.namespace
        data = {key: base64.b64encode(value).decode() for key, value in files.items()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": place}, "data": data}

    # -- use -----------------------------------------------------------------------------------------------------------

    def address(self, service: str) -> str:
        return str(self.kubectl.get("service", service)["spec"]["clusterIP"])

    def of(self, name: str) -> Kubectl:
        """For what is called `name`: in its namespace."""
        return self.site.kubectl if name == "worker-backup" else self.kubectl

    def pods(self, name: str) -> list[str]:
        found = self.of(name).get("pods", "-l", f"app.kubernetes.io/name={name}")["items"]
        return sorted(pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"])

    def exec(self, name: str, *argv: str, timeout_seconds: float = 60) -> str:
        """stdout of a command in a pod of a Deployment of ours."""
        return self.of(name).exec(f"deploy/{name}", *argv, timeout_seconds=timeout_seconds).decode()

    def has_logged(self, name: str, words: str) -> bool:
        return words in self.of(name)("logs", f"deployment/{name}", "--tail=-1").decode()

    def ask(self, task: str, *args: object, timeout_seconds: float = 120, **options: object) -> Any:
        """The result of a task that is enqueued in a pod which can do nothing but that, as an operator would."""
        module, _, function = task.partition(".")
        code = (
            f"import json, sys; from workers.{module} import {function} as task; args, options = json.loads(sys.argv[1]); "
            f"print(json.dumps(task.delay(*args, **options).get(timeout={timeout_seconds:g})))"
        )
        said = self.exec(
            "beat", "python", "-c", code, json.dumps([args, options]), timeout_seconds=timeout_seconds + 20
        )
        return json.loads(said.splitlines()[-1])

    def ask_all(self, tasks: Mapping[str, list[object]], timeout_seconds: float = 120) -> dict[str, Any]:
        """As `ask`, of several with their arguments, each queue's one after the other, the queues side by side. By task its
        result; its id where it gives none. Whatever fails says so in place of its result."""
        code = (
            "import json, sys; from concurrent.futures import ThreadPoolExecutor; from itertools import groupby; "
            "from workers.app import app, load_tasks; load_tasks()\n"
            "def ask(task, args):\n"
            "    sent = app.tasks[task].delay(*args)\n"
            f"    found = sent.id if sent.ignored else sent.get(timeout={timeout_seconds:g}, propagate=False)\n"
            "    return found if isinstance(found, (dict, str)) else repr(found)\n"
            "def ask_each(tasks):\n"
            "    return {task: ask(task, args) for task, args in tasks}\n"
            "asked = sorted(json.loads(sys.argv[1]).items())\n"
            "queues = [list(one) for _, one in groupby(asked, lambda item: item[0].partition('.')[0])]\n"
            "with ThreadPoolExecutor(len(queues)) as pool:\n"
            "    found = list(pool.map(ask_each, queues))\n"
            "print(json.dumps({task: result for one in found for task, result in one.items()}))"
        )
        said = self.exec("beat", "python", "-c", code, json.dumps(tasks), timeout_seconds=timeout_seconds + 20)
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found


@contextmanager
def deployed(site: ClusterSite, folder: Path) -> Iterator[Deployment]:
    """Beside a messenger that is there; gone afterwards, also after a deployment that failed."""
    found = Deployment(site, folder)
    with reachable_api_server(site.kubeconfig):
        try:
            found.deploy()
            yield found
        finally:
            found.remove()
