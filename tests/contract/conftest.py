"""The adapters behind the ports, each real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from g3zkp_maint.platforms.base import Platform
from g3zkp_maint.platforms.local import LocalPlatform
from g3zkp_maint.testing.running_stack import running_stack


@pytest.fixture(scope="session")
def local_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    state: Path = tmp_path_factory.mktemp("stack") / "state"
    with running_stack(state, "--no-fleets", "--no-flower"):
        yield LocalPlatform(state)


@pytest.fixture(params=["local"])
def platform(request: pytest.FixtureRequest) -> Platform:
    found: Platform = request.getfixturevalue(f"{request.param}_platform")
    return found
