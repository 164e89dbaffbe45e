"""A real Prometheus and a real Alertmanager, for tests: on free ports of this machine, looking every second."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """What it answers to PromQL: a list of series, each with `metric` and `value`. Raises AssertionError with its
        words where it refuses."""
        document = httpx.get(f"{self.url}/api/v1/query", params={"query": expr}, timeout=10, trust_env=False).json()
        if document["status"] != "success":
            raise AssertionError(f"{expr}: {document['error']}")
        found: list[dict[str, Any]] = document["data"]["result"]
        return found


def impatient(rules: str, *, seconds: int) -> str:
    """The same rules, whose alerts wait for so long only: what they look at is left as it is."""
    document = yaml.safe_load(rules)
    for rule in (one for group in document["groups"] for one in group["rules"]):
        if "for" in rule:
            rule["for"] = f"{seconds}s"
    return yaml.safe_dump(document, sort_keys=False)


@contextmanager
def running_alertmanager(program: str, folder: Path, *, webhook: str) -> Iterator[str]:
    """Yields the address of one that posts every alert to `webhook` at once, and again when it is resolved."""
    folder.mkdir(parents=True)
    configuration = {
        "route": {
            "receiver": "test",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "test", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
    }
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    arguments = (
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        # Alone: it looks for no others.
        "--cluster.listen-address=",
    )
    with _running(program, arguments, folder, f"http://{address}"):
        yield address


@contextmanager
def running_prometheus(
    program: str, folder: Path, *, targets: Mapping[str, str], rules: str, alertmanager: str
) -> Iterator[Prometheus]:
    """Scrapes `targets`, addresses by their job, with the label `namespace` that a scrape in Kubernetes sets."""
    folder.mkdir(parents=True)
    (folder / "rules.yml").write_text(rules)
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address], "labels": {"namespace": "g3zkp"}}]}
            for job, address in targets.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    arguments = (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        # What fires before Alertmanager is found is sent again.
        "--rules.alert.resend-delay=2s",
    )
    with _running(program, arguments, folder, f"http://{address}"):
        yield Prometheus(f"http://{address}")


@contextmanager
def _running(program: str, arguments: tuple[str, ...], folder: Path, url: str) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, *arguments], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(url, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{url}/-/ready", timeout=5, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} is not ready; it said: {log.read_text()[-2000:]}")


def free_port() -> int:
    """A TCP port of this machine that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
