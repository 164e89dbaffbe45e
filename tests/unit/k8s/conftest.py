"""The overlays as they would be applied, with and without the optional components."""

from __future__ import annotations

import pytest
from rendered_parts import COMPONENTS, K8S, Overlays

from g3zkp_maint.testing.rendered import Object, render, render_with


@pytest.fixture(scope="session")
def overlays(tmp_path_factory: pytest.TempPathFactory, require_kubectl: str) -> Overlays:
    """By name: `dev`, `production`, and `production+<component>` of each component that is optional."""
    found = {name: render(K8S / "overlays" / name) for name in ("dev", "production")}
    for component in COMPONENTS:
        scratch = tmp_path_factory.mktemp(component)
        found[f"production+{component}"] = render_with(K8S, "production", [component], scratch)
    return found


@pytest.fixture(params=["dev", "production", *(f"production+{component}" for component in COMPONENTS)])
def objects(request: pytest.FixtureRequest, overlays: Overlays) -> list[Object]:
    """Each of them, one after another."""
    return overlays[request.param]
