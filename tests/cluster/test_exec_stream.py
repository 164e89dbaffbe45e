"""Commands in pods of a real cluster: what is read is whole or an error, and a refusal says what to do about it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cut_line import cut_line
from restore_desk import wait_for

from g3zkp_maint.errors import ExecFailed, PlatformDenied, PlatformError, PlatformUnavailable, StreamBroken
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access, KubernetesClient
from g3zkp_maint.platforms.kubernetes_handshake import open_channels
from g3zkp_maint.testing.cluster_site import ClusterSite

pytestmark = pytest.mark.cluster

MIB = 1 << 20
ROUND_TRIP = Path(__file__).with_name("exec_round_trip.py")
#: Writes what comes, and says when it has come to an end: a part must never look like that.
UNTIL_END = ["sh", "-c", "echo $$ >/data/taker; cat >/data/taken; echo end >/data/taken-whole"]


@pytest.fixture
def platform(cluster_site: ClusterSite) -> KubernetesPlatform:
    return KubernetesPlatform(Access(cluster_site.kubeconfig), namespace=cluster_site.namespace)


@pytest.fixture
def taken(cluster_site: ClusterSite) -> Iterator[Path]:
    """Where UNTIL_END leaves what it took: a folder that all pods have."""
    yield cluster_site.data_dir
    for name in ("taker", "taken", "taken-whole"):
        (cluster_site.data_dir / name).unlink(missing_ok=True)


def endless() -> Iterator[bytes]:
    """A few megabytes a second, which is enough to be in the midst of it."""
    while True:
        yield bytes(64 << 10)
        yield b""
        time.sleep(0.01)


def test_100_mb_go_in_and_out_byte_for_byte_in_less_than_64_mib(cluster_site: ClusterSite) -> None:
    argv = [sys.executable, str(ROUND_TRIP), str(cluster_site.kubeconfig), cluster_site.namespace, "100"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["sent"] == said["there"] == said["received"]
    assert said["memory_mib"] < 64


def test_a_command_that_fails_after_its_last_byte_is_an_error(platform: KubernetesPlatform) -> None:
    seen: list[bytes] = []
    with pytest.raises(ExecFailed, match="exit code 7"):
        seen.extend(platform.exec(MESSENGER, ["sh", "-c", "head -c 3000000 /dev/zero; exit 7"]))
    assert sum(map(len, seen)) == 3_000_000


def test_a_command_that_is_killed_in_mid_stream_is_an_error(
    cluster_site: ClusterSite, platform: KubernetesPlatform
) -> None:
    (pod, *_) = cluster_site.pods()
    pieces = iter(platform.exec(MESSENGER, ["yes"], instance=pod))
    next(pieces)
    cluster_site.kubectl.exec(pod, "sh", "-c", "kill -9 $(pidof yes)")
    with pytest.raises(StreamBroken, match="SIGKILL"):
        drained(pieces)


def drained(pieces: Iterator[bytes]) -> int:
    return sum(map(len, pieces))


def test_a_pod_that_is_killed_ends_what_comes_from_it_and_what_goes_to_it_with_an_error(
    cluster_site: ClusterSite, platform: KubernetesPlatform, taken: Path
) -> None:
    (pod, *_) = cluster_site.pods()
    into = platform.exec(MESSENGER, UNTIL_END, stdin=endless(), instance=pod)
    out = iter(platform.exec(MESSENGER, ["yes"], instance=pod))
    next(out)
    wait_for((taken / "taken").exists, "the command to begin")
    cluster_site.kubectl("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")
    try:
        with pytest.raises(StreamBroken):
            drained(out)
        with pytest.raises(StreamBroken):
            into.read_all()
        assert not (taken / "taken-whole").exists()
    finally:
        cluster_site.wait_ready()
        wait_for(lambda: pod not in cluster_site.pods(), "the pod to be gone")


@pytest.fixture
def line(cluster_site: ClusterSite, tmp_path: Path) -> Iterator[Any]:
    """A platform whose connections can be cut, and what cuts them."""
    with cut_line(cluster_site.kubeconfig, tmp_path) as (cutter, kubeconfig):
        yield KubernetesPlatform(Access(kubeconfig, request_seconds=5), namespace=cluster_site.namespace), cutter.cut


def test_output_whose_connection_is_cut_is_an_error(line: Any) -> None:
    platform, cut = line
    pieces = iter(platform.exec(MESSENGER, ["yes"]))
    next(pieces)
    cut()
    with pytest.raises(StreamBroken, match="not whole"):
        drained(pieces)


def test_input_whose_connection_is_cut_has_no_end_and_its_command_is_gone(
    cluster_site: ClusterSite, line: Any, taken: Path
) -> None:
    platform, cut = line
    (pod, *_) = cluster_site.pods()
    stream = platform.exec(MESSENGER, UNTIL_END, stdin=endless(), instance=pod)
    wait_for(lambda: (taken / "taken").exists() and (taken / "taken").stat().st_size > MIB, "the command to begin")
    cut()
    with pytest.raises(StreamBroken, match="not whole"):
        stream.read_all()
    # Killed, it may stay as a zombie: the messenger, which is the first process, waits for none.
    state = f"sed -n 's/^State:.//p' /proc/{(taken / 'taker').read_text().strip()}/status 2>/dev/null"
    wait_for(
        lambda: cluster_site.kubectl.exec(pod, "sh", "-c", f"{state}; true")[:1] in {b"", b"Z"},
        "the command to be killed",
    )
    assert not (taken / "taken-whole").exists()


# -- refusals ------------------------------------------------------------------------------------------------------------


def kubeconfig_with(original: Path, file: Path, user: dict[str, str]) -> Path:
    document = yaml.safe_load(original.read_text())
    document["users"][0]["user"] = user
    file.write_text(yaml.safe_dump(document))
    return file


@pytest.fixture
def stranger(cluster_site: ClusterSite, tmp_path: Path) -> Iterator[Callable[..., KubernetesPlatform]]:
    """`stranger([rule, …])` is the platform as a ServiceAccount sees it that may do this and no more."""
    name = "exec-stranger"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": name}},
    }
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name}],
    }

    def make(rules: list[dict[str, Any]]) -> KubernetesPlatform:
        role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}
        cluster_site.kubectl.apply([account, token, role, binding])
        wait_for(
            lambda: "token" in cluster_site.kubectl.get("secret", name).get("data", {}), "the account to have a token"
        )
        encoded = cluster_site.kubectl.get("secret", name)["data"]["token"]
        user = {"token": base64.b64decode(encoded).decode()}
        file = kubeconfig_with(cluster_site.kubeconfig, tmp_path / f"{name}.conf", user)
        return KubernetesPlatform(Access(file), namespace=cluster_site.namespace)

    yield make
    cluster_site.kubectl(
        "delete",
        f"serviceaccount/{name}",
        f"secret/{name}",
        f"role/{name}",
        f"rolebinding/{name}",
        "--ignore-not-found",
    )


def test_who_may_not_run_commands_is_told_the_verb_and_the_resource(
    cluster_site: ClusterSite, stranger: Callable[..., KubernetesPlatform]
) -> None:
    found = ["deployments", "statefulsets", "replicasets", "pods"]
    platform = stranger([{"apiGroups": ["", "apps"], "resources": found, "verbs": ["get", "list"]}])
    with pytest.raises(PlatformDenied, match=rf"may not (get|create) pods/exec in namespace {cluster_site.namespace}"):
        platform.exec(MESSENGER, ["true"])


def test_who_may_do_nothing_is_told_what_comes_first(stranger: Callable[..., KubernetesPlatform]) -> None:
    with pytest.raises(PlatformDenied, match=r"may not get deployments\.apps .* add the verb 'get' on 'deployments'"):
        stranger([]).exec(MESSENGER, ["true"])


def test_a_token_that_the_server_does_not_know_is_denied_and_not_shown(
    cluster_site: ClusterSite, tmp_path: Path
) -> None:
    file = kubeconfig_with(cluster_site.kubeconfig, tmp_path / "wrong.conf", {"token": "no-such-token"})
    client = KubernetesClient(Access(file), cluster_site.namespace)
    with pytest.raises(PlatformDenied, match="does not know who asks") as caught:
        open_channels(client, cluster_site.pods()[0], ["true"], has_input=False)
    assert "no-such-token" not in str(caught.value)


def test_a_pod_or_container_that_is_not_there_is_named(cluster_site: ClusterSite) -> None:
    client = KubernetesClient(Access(cluster_site.kubeconfig), cluster_site.namespace)
    with pytest.raises(PlatformUnavailable, match=r"the pod is gone: .*no-such-pod"):
        open_channels(client, "no-such-pod", ["true"], has_input=False)
    with pytest.raises(PlatformError, match="no-such-container"):
        open_channels(client, cluster_site.pods()[0], ["true"], has_input=False, container="no-such-container")


def test_of_several_contexts_the_chosen_one_is_used(cluster_site: ClusterSite, tmp_path: Path) -> None:
    document = yaml.safe_load(cluster_site.kubeconfig.read_text())
    there = document["contexts"][0]["name"]
    document["clusters"].append({"name": "elsewhere", "cluster": {"server": "https://127.0.0.1:1"}})
    context = {**document["contexts"][0]["context"], "cluster": "elsewhere"}
    document["contexts"].append({"name": "elsewhere", "context": context})
    document["current-context"] = "elsewhere"
    file = tmp_path / "two.conf"
    file.write_text(yaml.safe_dump(document))
    chosen = KubernetesPlatform(Access(file, there), namespace=cluster_site.namespace)
    assert chosen.exec(MESSENGER, ["echo", "here"]).read_all() == b"here\n"
    with pytest.raises(PlatformUnavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        KubernetesClient(Access(file), cluster_site.namespace).request("GET", "/version")
