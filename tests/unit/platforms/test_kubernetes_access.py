"""Where the API server is found: from files and the environment, without asking it anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from kubernetes.config import incluster_config

from g3zkp_maint.errors import SettingsError
from g3zkp_maint.platforms import kubernetes_client
from g3zkp_maint.platforms.kubernetes_client import Access

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: me, user: {}}]
"""


def test_the_variable_is_read_when_it_is_used_not_when_the_client_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config"
    file.write_text(KUBECONFIG, encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert Access().configuration().host == "https://127.0.0.1:1"


def test_a_file_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(SettingsError, match="nowhere"):
        Access(tmp_path / "nowhere").configuration()


TWO = KUBECONFIG.replace("contexts: [", "contexts: [{name: there, context: {cluster: there, user: me}}, ").replace(
    "clusters: [", 'clusters: [{name: there, cluster: {server: "https://127.0.0.1:2"}}, '
)


def test_of_several_contexts_the_current_one_is_used_unless_another_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(TWO, encoding="utf-8")
    assert Access(file).configuration().host == "https://127.0.0.1:1"
    assert Access(file, "there").configuration().host == "https://127.0.0.1:2"


def test_a_context_that_is_not_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(TWO, encoding="utf-8")
    with pytest.raises(SettingsError, match="context nowhere"):
        Access(file, "nowhere").configuration()


@pytest.mark.parametrize("text", ["{", "[]", "current-context: here", ""], ids=["no YAML", "a list", "a part", "empty"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=str(file)):
        Access(file).configuration()


@pytest.fixture
def in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a pod's ServiceAccount has, in a folder of the test's; the token's file."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    token, certificate = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first", encoding="utf-8")
    certificate.write_text("a certificate", encoding="utf-8")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
    monkeypatch.setattr(kubernetes_client, "_TOKEN", token)
    return token


def test_in_a_pod_its_service_account_is_used(in_a_pod: Path) -> None:
    client = kubernetes_client.KubernetesClient(Access(in_cluster=True), "g3zkp")
    assert client.server == "https://10.96.0.1:443"
    assert client.authorization() == {"authorization": "bearer first"}
    assert Access().configuration().host == "https://10.96.0.1:443"


def test_in_a_pod_a_kubeconfig_that_is_named_comes_first(in_a_pod: Path, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(TWO, encoding="utf-8")
    assert Access(file).configuration().host == "https://127.0.0.1:1"


def test_a_pod_without_a_service_account_is_told_so(in_a_pod: Path) -> None:
    in_a_pod.unlink()
    with pytest.raises(SettingsError, match="ServiceAccount"):
        Access(in_cluster=True).configuration()


def test_a_token_with_a_line_break_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(KUBECONFIG.replace("user: {}", r'user: {token: "hidden\n"}'), encoding="utf-8")
    client = kubernetes_client.KubernetesClient(Access(file), "g3zkp")
    with pytest.raises(SettingsError, match="line break") as caught:
        client.request("GET", "/version")
    assert "hidden" not in str(caught.value)
