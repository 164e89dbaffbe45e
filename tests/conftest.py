"""What every test gets: no network beyond this machine, no settings of the developer's shell, the same examples in CI.

A program or service that is missing skips a test on a laptop, with the reason; in CI (`CI=true`) it fails it, because a
check that is skipped there proves nothing.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from hypothesis import HealthCheck, settings

from g3zkp_maint.testing.seaweed import Seaweed, running_seaweed

IN_CI = os.environ.get("CI") == "true"
ROOT = Path(__file__).parent.parent

#: A cluster starter beside the checkout: `up` prints `KUBECONFIG=…`, `down` stops what it started (CONTRIBUTING.md).
CLUSTER_STARTER = ROOT.parent / "shared" / "cluster"
CLUSTER_START_SECONDS = 240
#: Its Services and pods, which are on this machine too; for tests marked `cluster`.
CLUSTER_NETWORKS = tuple(map(ipaddress.ip_network, ("10.96.0.0/16", "10.244.0.0/16")))
CLUSTER_STATE = Path(os.environ.get("CLUSTER_DIR") or Path(tempfile.gettempdir()) / "g3zkp-cluster")

# Loaded machines are slow at times: a deadline for one example would only ever find that.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if IN_CI else "default")

# A shell lets what it runs in the background ignore Ctrl-C, and what the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class NetworkBlocked(RuntimeError):
    """Raised when a test connects to another machine."""


@pytest.fixture(autouse=True)
def _only_this_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = CLUSTER_NETWORKS if request.node.get_closest_marker("cluster") else ()

    def guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
        def checked(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0], networks):
                raise NetworkBlocked(f"a test connects to {address[0]}: tests talk to this machine only")
            return connect(self, address)

        return checked

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))


def _is_here(host: str, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or any(address in network for network in networks)


@pytest.fixture(autouse=True)
def _no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("G3ZKP_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Commands set up logging for their process; here that is everybody's process."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def missing(what: str) -> NoReturn:
    """Ends the test: skipped on a laptop, failed in CI."""
    if IN_CI:
        pytest.fail(f"{what} (in CI nothing is skipped)")
    pytest.skip(what)


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """`require_program("age")` is the program's path; without it the test is skipped, in CI failed."""

    def require(name: str) -> str:
        return shutil.which(name) or missing(f"{name} is not installed (Debian: apt-get install {name})")

    return require


@pytest.fixture(scope="session")
def require_kubectl() -> str:
    """Its path. Debian's is too old to know kustomize's components."""
    return shutil.which("kubectl") or missing("kubectl (1.21 or newer) is not installed (make test fetches it)")


@pytest.fixture(scope="session")
def aws() -> Path:
    """AWS's command, in an environment of its own, as it wants another botocore than we have."""
    found = Path(sys.prefix) / "aws" / "bin" / "aws"
    return found if found.is_file() else missing("aws is not installed (make .venv/aws/bin/aws)")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server, started when the first test asks for it."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def cluster_starter(kubeconfig: Path) -> Path:
    """The folder of the cluster starter, whose `image` tool puts images into the cluster. Its cluster's kubeconfig lies in
    its state folder."""
    if not (CLUSTER_STARTER / "image").is_file() or not (kubeconfig.parent / "run" / "containerd.sock").exists():
        missing("images cannot be put into this cluster: it was not started by the starter beside the checkout")
    return CLUSTER_STARTER


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A kubeconfig of a real cluster: the one of `KUBECONFIG`, else one started for this session and stopped after it."""
    given = os.environ.get("KUBECONFIG")
    if given:
        yield Path(given)
        return
    if not (CLUSTER_STARTER / "up").is_file():
        pytest.skip("no cluster: set KUBECONFIG, or put a cluster starter beside the checkout (CONTRIBUTING.md)")
    if os.geteuid() != 0:
        pytest.skip("no cluster: the cluster starter needs root; set KUBECONFIG to use a running cluster")
    path, is_ours = _start_cluster()
    yield path
    if is_ours:
        subprocess.run([CLUSTER_STARTER / "down"], check=True, timeout=60, stdout=subprocess.DEVNULL)


def _start_cluster() -> tuple[Path, bool]:
    """The kubeconfig that the starter prints, and whether the cluster was not there before."""
    running = _answers(CLUSTER_STATE / "admin.conf")
    done = subprocess.run(
        [CLUSTER_STARTER / "up"], capture_output=True, text=True, timeout=CLUSTER_START_SECONDS, check=False
    )
    assert done.returncode == 0, f"the cluster did not start:\n{done.stdout}\n{done.stderr}"
    printed = [line for line in done.stdout.splitlines() if line.startswith("KUBECONFIG=")]
    assert printed, f"the cluster starter printed no KUBECONFIG=:\n{done.stdout}"
    return Path(printed[-1].removeprefix("KUBECONFIG=")), not running


def _answers(kubeconfig: Path) -> bool:
    if not kubeconfig.is_file():
        return False
    asked = ["kubectl", "--kubeconfig", kubeconfig, "get", "--raw", "/readyz", "--request-timeout=3s"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0
