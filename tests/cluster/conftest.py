"""A messenger in the cluster, for all cluster tests of a session; and sites of their own for those that need others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from g3zkp_maint.testing.cluster_site import ClusterSite
from g3zkp_maint.testing.cluster_site import cluster_site as running_site
from g3zkp_maint.testing.messenger_manifests import SiteOptions

#: Several people may share a cluster, each with a namespace of their own.
NAMESPACE = os.environ.get("CLUSTER_TEST_NAMESPACE") or "g3zkp"


@pytest.fixture(scope="session")
def cluster_site(kubeconfig: Path, cluster_starter: Path) -> Iterator[ClusterSite]:
    """The reference messenger, ready; whoever changes its data leaves it usable."""
    with running_site(ClusterSite(kubeconfig, NAMESPACE, cluster_starter, kubeconfig.parent)) as site:
        yield site


@pytest.fixture(scope="module")
def another_site(kubeconfig: Path, cluster_starter: Path) -> Iterator[Callable[..., ClusterSite]]:
    """`another_site("aof-off", SiteOptions(appendonly=False))` is one in namespace `<default>-aof-off`."""
    with ExitStack() as stack:

        def start(name: str, options: SiteOptions) -> ClusterSite:
            site = ClusterSite(kubeconfig, f"{NAMESPACE}-{name}", cluster_starter, kubeconfig.parent, options)
            return stack.enter_context(running_site(site))

        yield start
