"""Where the API server is found: from files and the environment, without asking it anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from g3zkp_maint.errors import SettingsError
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
