"""That the tests' cluster is a real one, before anything is proved on it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster


def test_the_node_of_the_cluster_is_ready(kubeconfig: Path) -> None:
    asked = ["kubectl", "--kubeconfig", kubeconfig, "get", "nodes", "-o", "json"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30)
    nodes = json.loads(answer.stdout)["items"]
    ready = [c["status"] for node in nodes for c in node["status"]["conditions"] if c["type"] == "Ready"]
    assert ready
    assert set(ready) == {"True"}
