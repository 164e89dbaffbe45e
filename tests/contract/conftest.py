"""The adapters behind the ports, each real."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from g3zkp_maint.platforms.base import Platform
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
from g3zkp_maint.platforms.local import LocalPlatform
from g3zkp_maint.testing.cluster_site import ClusterSite, cluster_site
from g3zkp_maint.testing.messenger_manifests import SiteOptions
from g3zkp_maint.testing.running_stack import running_stack

#: A site of its own: the suite scales, restarts and writes keys.
NAMESPACE = f"{os.environ.get('CLUSTER_TEST_NAMESPACE') or 'g3zkp'}-contract"


@pytest.fixture(scope="session")
def local_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    state: Path = tmp_path_factory.mktemp("stack") / "state"
    with running_stack(state, "--no-fleets", "--no-flower"):
        yield LocalPlatform(state)


@pytest.fixture(scope="session")
def kubernetes_platform(kubeconfig: Path, cluster_starter: Path) -> Iterator[Platform]:
    site = ClusterSite(kubeconfig, NAMESPACE, cluster_starter, kubeconfig.parent, SiteOptions(replicas=2))
    with cluster_site(site):
        yield KubernetesPlatform(Access(kubeconfig), namespace=NAMESPACE)


@pytest.fixture(params=["local", pytest.param("kubernetes", marks=pytest.mark.cluster)])
def platform(request: pytest.FixtureRequest) -> Platform:
    found: Platform = request.getfixturevalue(f"{request.param}_platform")
    return found
