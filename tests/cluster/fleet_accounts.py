"""The ServiceAccounts of k8s/ on a cluster, with the rights that k8s/ gives them; and commands that are run as one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from restore_desk import DEADLINE, Desk

from g3zkp_maint.keys.fleets import given_files, issue
from g3zkp_maint.keys.material import generate
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
from g3zkp_maint.testing import messenger_manifests as manifests
from g3zkp_maint.testing.cluster_site import LABELS
from g3zkp_maint.testing.kubectl import Kubectl
from g3zkp_maint.testing.rendered import Object, moved, of_kind, render_with

K8S = Path(__file__).parents[2] / "k8s"
#: Which the overlay for development has not by itself.
COMPONENTS = ("housekeeping",)
_RIGHTS = ("ServiceAccount", "Role", "RoleBinding")


@dataclass(frozen=True)
class Accounts:
    """Those of a messenger, by name: `worker-backup`, `health`. `places` are the namespaces here, by those of k8s/;
    `folder` holds kubeconfigs, each fleet's keys, and a store."""

    desk: Desk
    places: dict[str, str]
    objects: list[Object]
    folder: Path
    _platforms: dict[tuple[str, str], KubernetesPlatform] = field(default_factory=dict)

    @cached_property
    def names(self) -> dict[str, str]:
        """With the namespace of each."""
        return {
            one["metadata"]["name"]: one["metadata"]["namespace"] for one in of_kind(self.objects, "ServiceAccount")
        }

    def kubeconfig(self, account: str) -> Path:
        """With a token of its own, such as a pod is given."""
        path = self.folder / f"{account}.conf"
        if not path.exists():
            kubectl = Kubectl(self.desk.site.kubeconfig, self.names[account])
            token = kubectl("create", "token", account, "--duration=1h").decode().strip()
            document = yaml.safe_load(self.desk.site.kubeconfig.read_text())
            document["users"] = [{"name": user["name"], "user": {"token": token}} for user in document["users"]]
            path.write_text(yaml.safe_dump(document))
        return path

    def platform(self, account: str, namespace: str | None = None) -> KubernetesPlatform:
        """The messenger's namespace, or another one, as the account sees it."""
        place = namespace or self.desk.site.namespace
        if (account, place) not in self._platforms:
            made = KubernetesPlatform(Access(self.kubeconfig(account)), namespace=place)
            self._platforms[account, place] = made
        return self._platforms[account, place]

    def environment(self, account: str, **settings: str) -> dict[str, str]:
        """The account's own rights and its fleet's own keys, and nothing of another's."""
        common = {name: text for name, text in self.desk.environment().items() if not name.startswith("G3ZKP_KEYS__")}
        keys = given_files(self.folder / "keys", account.removeprefix("worker-"))
        return {
            **common,
            **{f"G3ZKP_KEYS__{name}": str(path) for name, path in keys},
            "G3ZKP_PLATFORM__KUBERNETES__KUBECONFIG": str(self.kubeconfig(account)),
            "G3ZKP_STORE__DIRECTORY__PATH": str(self.folder / "store"),
            "G3ZKP_BACKUP__SOURCE": "exec",
            **settings,
        }

    def run(self, account: str, *args: str, ends: int = 0, **settings: str) -> dict[str, Any]:
        """The answer of `g3zkp-maint …` as a process of that fleet's. It must end with `ends`."""
        command = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", *args, "--json"]
        environment = {**os.environ, **self.environment(account, **settings)}
        done = subprocess.run(command, env=environment, capture_output=True, timeout=DEADLINE, check=False)
        assert done.returncode == ends, (done.returncode, done.stderr.decode()[-3000:])
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextmanager
def applied_accounts(desk: Desk, folder: Path) -> Iterator[Accounts]:
    """What k8s/ says of accounts and rights, at the desk; gone afterwards."""
    places = {"g3zkp": desk.site.namespace, "g3zkp-maint": f"{desk.site.namespace}-maint"}
    rendered = render_with(K8S, "dev", COMPONENTS, folder / "rendered")
    objects = moved(of_kind(rendered, *_RIGHTS), places)
    issue(folder / "keys", generate())
    # In the namespaces that they name.
    kubectl, beside = Kubectl(desk.site.kubeconfig, ""), places["g3zkp-maint"]
    try:
        kubectl.apply([manifests.namespace(beside, LABELS), *objects])
        yield Accounts(desk, places, objects, folder)
    finally:
        kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(objects).encode())
        kubectl("delete", "namespace", beside, "--ignore-not-found", "--wait=false")
