"""The overlays as they would be applied, with and without the optional components."""

from __future__ import annotations

import shutil

import pytest
from rendered_parts import COMPONENTS, K8S, Overlays

from g3zkp_maint.testing.rendered import Object, render, render_with


@pytest.fixture(scope="session")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> Overlays:
    """By name: `dev`, `production`, and `production+<component>` of each component that is optional."""
    # Debian's kubectl is too old to know components, so there is no package to name: without one these are skipped.
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl (1.21 or newer) is not installed: k8s/ cannot be rendered")
    found = {name: render(K8S / "overlays" / name) for name in ("dev", "production")}
    for component in COMPONENTS:
        scratch = tmp_path_factory.mktemp(component)
        found[f"production+{component}"] = render_with(K8S, "production", [component], scratch)
    return found


@pytest.fixture(params=["dev", "production", *(f"production+{component}" for component in COMPONENTS)])
def objects(request: pytest.FixtureRequest, overlays: Overlays) -> list[Object]:
    """Each of them, one after another."""
    return overlays[request.param]
