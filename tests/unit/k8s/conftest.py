"""The overlays as they would be applied, with and without the optional components."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from g3zkp_maint.testing.rendered import Object, render, render_with

K8S = Path(__file__).parents[3] / "k8s"

Overlays = dict[str, list[Object]]


@pytest.fixture(scope="session")
def overlays(require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Overlays:
    """By name: `dev`, `production`, and `production+<component>` of each component that is optional."""
    require_program("kubectl")
    found = {name: render(K8S / "overlays" / name) for name in ("dev", "production")}
    for component in ("exec-source", "recovery-offline", "keda"):
        scratch = tmp_path_factory.mktemp(component)
        found[f"production+{component}"] = render_with(K8S, "production", [component], scratch)
    return found


@pytest.fixture(
    params=["dev", "production", "production+exec-source", "production+recovery-offline", "production+keda"]
)
def objects(request: pytest.FixtureRequest, overlays: Overlays) -> list[Object]:
    """Each of them, one after another."""
    return overlays[request.param]
