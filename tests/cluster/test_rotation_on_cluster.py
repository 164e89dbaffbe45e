"""Rotations on a real cluster: one rollout, proved in every pod; pods that die, that never get ready, rights that lack."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.errors import Conflict, PlatformDenied, RotationFailed, TemporaryError
from g3zkp_maint.platforms.base import MESSENGER, SecretData
from g3zkp_maint.rotation.entries import KEY_TYPES, RECORD, read_key
from g3zkp_maint.testing.backup_place import entered
from g3zkp_maint.testing.cluster_site import ClusterSite
from g3zkp_maint.testing.rotating import Altered, insist, kill_at, perform, replace_platform, replace_settings
from g3zkp_maint.testing.running_stack import wait_for

pytestmark = pytest.mark.cluster

SECRET = "g3zkp-keys"
TRY_AGAIN = 75
ROLLOUT_SECONDS = 60
#: A pod with this as its signing key never gets ready: there is no private part of it.
UNKNOWN_KEYS = (
    "require('@g3zkp/crypto').generateKey = (type) => "
    "({ publicKey: require('node:crypto').randomBytes(32), keyId: `${type}-${Date.now()}` });\n"
)


@dataclass
class Place:
    """The messenger of the cluster, and services beside it."""

    site: ClusterSite
    services: Services

    def secret(self) -> SecretData:
        return self.services.platform.read_secret(SECRET)

    def ids(self) -> dict[str, str]:
        data = self.secret().data
        return {one: key.keyId for one in KEY_TYPES if (key := read_key(data.get(f"{one}-key")))}

    def in_use(self) -> list[dict[str, str]]:
        """What each pod says that it uses."""
        script = "fetch('http://127.0.0.1:3000/keys').then((r) => r.json()).then((k) => console.log(JSON.stringify(k.inUse)))"
        return [json.loads(self.site.kubectl.exec(pod, "node", "-e", script)) for pod in self.site.pods()]

    def made(self) -> int:
        return len(list((self.site.data_dir / "keys").glob("*-*.json")))

    def secrets(self) -> set[str]:
        """Of each key that was ever made, what of it is in no log."""
        keys = [json.loads(path.read_text()) for path in (self.site.data_dir / "keys").glob("*-*.json")]
        return {key["publicKey"] for key in keys} | {key["privateKey"].splitlines()[1] for key in keys}

    def revision(self) -> int:
        found = self.site.kubectl.get("deployment", MESSENGER)["metadata"]["annotations"]
        return int(found["deployment.kubernetes.io/revision"])

    def rotate(self, slot: str) -> dict[str, Any]:
        return perform(self.services, f"{slot}-{time.monotonic_ns()}")

    def assert_settled(self) -> None:
        assert self.in_use() == [self.ids()] * 3
        assert json.loads(self.secret().annotations[RECORD])["phase"] in {"rotated", "undone"}
        assert not [name for name in self.secret().data if name.endswith("-former")]


@pytest.fixture
def place(cluster_site: ClusterSite, coordination: str) -> Iterator[Place]:
    with entered(_settings(cluster_site, coordination, cluster_site.kubeconfig)):
        services = Services()
        yield Place(cluster_site, services)
        services.redis.close()


def _settings(site: ClusterSite, coordination: str, kubeconfig: Path) -> dict[str, str]:
    return {
        "G3ZKP_REDIS__URL": coordination,
        "G3ZKP_PLATFORM__KIND": "kubernetes",
        "G3ZKP_PLATFORM__NAMESPACE": site.namespace,
        "G3ZKP_PLATFORM__KUBERNETES__KUBECONFIG": str(kubeconfig),
        "G3ZKP_PLATFORM__ROLLOUT_SECONDS": str(ROLLOUT_SECONDS),
        "G3ZKP_COORDINATION__LEASE_TTL_SECONDS": "3",
        "G3ZKP_COORDINATION__LEASE_RENEW_SECONDS": "0.8",
        "G3ZKP_COORDINATION__RETRY_SECONDS": "0.2",
    }


def test_two_runs_at_once_are_one_rollout_of_four_types_that_every_pod_uses(place: Place) -> None:
    before, made, revision = place.ids(), place.made(), place.revision()
    argv = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "keys", "rotate", "--json"]
    argv += ["--force", "--reason", "two at once"]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = sorted((one.wait(120), *one.communicate()) for one in both)
    assert [code for code, _, _ in ends] == [0, TRY_AGAIN], ends
    assert json.loads(ends[1][2].splitlines()[-1])["code"] == "lease-busy"
    rotated = {one["type"]: (one["former_id"], one["key_id"]) for one in json.loads(ends[0][1])["rotated"]}
    assert rotated == {one: (before[one], place.ids()[one]) for one in KEY_TYPES}
    assert (place.revision(), place.made()) == (revision + 1, made + 4)
    previous = {one: read_key(place.secret().data[f"{one}-key-previous"]) for one in KEY_TYPES}
    assert {one: key.keyId for one, key in previous.items() if key} == before
    place.assert_settled()
    shown = repr((ends, [record.event for record in place.services.journal.read()]))
    assert all(key_id in shown for key_id in place.ids().values())
    assert not [secret[:6] for secret in place.secrets() if secret in shown]


def test_killed_in_the_rollout_it_waits_for_that_same_rollout(place: Place) -> None:
    """At every other step: tests/integration/rotation."""
    made, revision, slot = place.made(), place.revision(), "killed"
    kill_at("wait:1:before", slot)
    staged = place.ids()
    found = insist(place.services, slot)
    assert {one["type"]: one["key_id"] for one in found["rotated"]} == staged
    assert (place.revision(), place.made()) == (revision + 1, made + 4)
    place.assert_settled()


def test_a_pod_that_dies_while_it_makes_keys_changes_nothing(place: Place) -> None:
    secret, revision = place.secret(), place.revision()
    replace_platform(place.services, Altered(place.services.platform, "for (;;); /* makes-keys */\n"))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(place.rotate, "pod-dies")
        wait_for(lambda: _pod_that_makes_keys(place) != "", 30, lambda: "no pod makes keys")
        place.site.kubectl("delete", "pod", _pod_that_makes_keys(place), "--force", "--grace-period=0")
        failure = running.exception(60)
    assert isinstance(failure, TemporaryError), repr(failure)
    after = place.secret()
    assert (after.data, after.annotations) == (secret.data, secret.annotations)
    assert place.revision() == revision
    place.site.wait_ready()


def _pod_that_makes_keys(place: Place) -> str:
    for pod in place.site.pods():
        shown = place.site.kubectl.run("exec", pod, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline").stdout
        if b"makes-keys" in shown:
            return pod
    return ""


def test_where_no_new_pod_gets_ready_former_keys_and_pods_come_back_by_themselves(place: Place) -> None:
    pods, secret = place.site.pods(), place.secret()
    replace_platform(place.services, Altered(place.services.platform, UNKNOWN_KEYS))
    replace_settings(place.services, "platform", rollout_seconds=6.0)
    with pytest.raises(RotationFailed, match=r"taken back: waited 6 s.*in the Secret and in use again"):
        place.rotate("never-ready")
    after = place.secret()
    assert after.data == secret.data
    assert {**after.annotations, RECORD: ""} == {**secret.annotations, RECORD: ""}
    assert place.site.pods() == pods, "the very pods of before"
    place.assert_settled()


def test_another_writer_of_the_same_keys_wins_and_nothing_else_changes(place: Place) -> None:
    secret, revision = place.secret(), place.revision()
    value = json.loads(secret.data["session-key-previous"])

    def write(number: int) -> None:
        if number == 2:
            change = {"stringData": {"session-key": json.dumps(value)}}
            place.site.kubectl("patch", "secret", SECRET, "--patch", json.dumps(change))

    replace_platform(place.services, Altered(place.services.platform, before_patch=write))
    with pytest.raises(Conflict):
        place.rotate("conflict")
    data = place.secret().data
    assert json.loads(data["session-key"]) == value
    assert {**data, "session-key": b""} == {**secret.data, "session-key": b""}
    assert place.revision() == revision
    _put_back(place, secret)


def _put_back(place: Place, secret: SecretData) -> None:
    """So that the Secret names what the pods use."""
    version = place.secret().resource_version
    place.services.platform.patch_secret(SECRET, resource_version=version, data=secret.data, annotations={})


# -- rights ------------------------------------------------------------------------------------------------------------------

READ = [
    {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]},
    {"apiGroups": ["apps"], "resources": ["deployments", "replicasets", "statefulsets"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": ["get"]},
]
PATCH = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": ["patch"]}


def _as_account(place: Place, name: str, rules: list[dict[str, Any]], folder: Path) -> Path:
    """The kubeconfig of a ServiceAccount that may do just that."""
    site = place.site
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": site.namespace}
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
    site.kubectl.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
            {**rbac, "kind": "Role", "rules": rules},
            {**rbac, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/service-account-token",
                "metadata": {"name": f"{name}-token", "annotations": {"kubernetes.io/service-account.name": name}},
            },
        ]
    )
    wait_for(lambda: bool(_token(site, name)), 30, lambda: f"{name} was given no token")
    document = yaml.safe_load(site.kubeconfig.read_text())
    document["users"] = [{"name": user["name"], "user": {"token": _token(site, name)}} for user in document["users"]]
    path = folder / f"{name}.conf"
    path.write_text(yaml.safe_dump(document))
    return path


def _token(site: ClusterSite, name: str) -> str:
    template = "{{ with .data }}{{ with .token }}{{ . | base64decode }}{{ end }}{{ end }}"
    return site.kubectl("get", "secret", f"{name}-token", "-o", f"go-template={template}").decode()


@pytest.mark.parametrize(
    ("name", "rules", "error", "told", "makes"),
    [
        ("no-secret-patch", READ, PlatformDenied, "may not patch secrets", 0),
        ("no-restart", [*READ, PATCH], RotationFailed, "may not patch deployments.*in use again", 4),
    ],
)
def test_a_right_that_lacks_is_named_and_all_is_as_it_was(
    place: Place,
    coordination: str,
    tmp_path: Path,
    name: str,
    rules: list[dict[str, Any]],
    error: type[Exception],
    told: str,
    makes: int,
) -> None:
    """Without the right to patch the Secret no key is even made."""
    secret, made, pods = place.secret(), place.made(), place.site.pods()
    config = _as_account(place, name, rules, tmp_path)
    with entered(_settings(place.site, coordination, config)):
        services = Services()
        with pytest.raises(error, match=told):
            perform(services, name)
        services.redis.close()
    assert place.secret().data == secret.data
    assert {**place.secret().annotations, RECORD: ""} == {**secret.annotations, RECORD: ""}
    assert (place.made(), place.site.pods()) == (made + makes, pods)
