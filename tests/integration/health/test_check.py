"""The health check against a real server that misbehaves in known ways."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.errors import BadInput, PlatformDenied
from g3zkp_maint.health.check import check
from g3zkp_maint.health.instances import check_all
from g3zkp_maint.health.state import Level, judge
from g3zkp_maint.platforms.kubernetes import kubernetes_platform
from g3zkp_maint.settings import Health, Platform
from g3zkp_maint.settings.platform import Kubernetes

pytestmark = pytest.mark.integration

Answer = Callable[[BaseHTTPRequestHandler, str], None]


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, self.path)

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def well(handler: BaseHTTPRequestHandler, path: str) -> None:
    reply(handler, 200, b"g3zkp_errors_total 0\n" if path == "/metrics" else b"{}")


def test_a_messenger_that_answers_everything_is_healthy() -> None:
    with served(well) as url:
        report = check(url)
    assert report.is_healthy
    assert [one.path for one in report.endpoints] == ["/health", "/ready", "/metrics"]
    assert all(0 < one.latency_seconds < 5 and one.tries == 1 for one in report.endpoints)


def test_one_failing_path_is_named_with_its_status_after_all_tries() -> None:
    asked = []

    def not_ready(handler: BaseHTTPRequestHandler, path: str) -> None:
        asked.append(path)
        reply(handler, 503) if path == "/ready" else well(handler, path)

    with served(not_ready) as url:
        report = check(url, tries=2)
    assert report.problems == ("/ready: answered 503 Service Unavailable",)
    assert asked.count("/ready") == 2


def test_a_path_that_answers_at_a_later_try_is_well() -> None:
    asked = []

    def late(handler: BaseHTTPRequestHandler, path: str) -> None:
        asked.append(path)
        reply(handler, 500) if asked == ["/health"] else well(handler, path)

    with served(late) as url:
        report = check(url)
    assert report.is_healthy
    assert report.endpoints[0].tries == 2


def test_metrics_of_another_program_are_no_metrics() -> None:
    with served(lambda handler, _: reply(handler, 200, b"go_threads 1\n")) as url:
        report = check(url, tries=1)
    assert report.problems == ("/metrics: the answer holds no g3zkp_",)


def test_redirects_are_followed_and_loops_are_reported() -> None:
    def moved(handler: BaseHTTPRequestHandler, path: str) -> None:
        if path == "/health":
            reply(handler, 302, Location="/health")
        elif path == "/ready":
            reply(handler, 307, Location="/moved")
        else:
            well(handler, path)

    with served(moved) as url:
        report = check(url, tries=1)
    assert [one.problem is None for one in report.endpoints] == [False, True, True]
    assert "redirect" in report.problems[0]


def test_an_answer_that_trickles_in_is_cut_off_at_the_time_limit() -> None:
    ended = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler, _: str) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not ended.wait(0.05):
                handler.wfile.write(b".")
        except (BrokenPipeError, ConnectionResetError):
            return

    with served(trickle) as url:
        report = check(url, timeout_seconds=0.3, tries=1)
        ended.set()
    assert all("not complete after 0.3 s" in problem for problem in report.problems)
    assert all(one.latency_seconds < 3 for one in report.endpoints)


def test_headers_that_trickle_in_are_cut_off_at_the_time_limit_too() -> None:
    cut_off = 0

    def trickle(handler: BaseHTTPRequestHandler, path: str) -> None:
        nonlocal cut_off
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        try:
            # Each byte comes well before a limit on single reads; all of them take 10 s.
            for number in range(200):
                time.sleep(0.05)
                handler.wfile.write(f"x-{number}: 1\r\n".encode())
            handler.wfile.write(b"\r\n")
            handler.wfile.write(b"g3zkp_errors_total 0\n")
        except (BrokenPipeError, ConnectionResetError):
            cut_off += 1

    with served(trickle) as url:
        report = check(url, timeout_seconds=0.3, tries=1)
    assert len(report.problems) == 3
    assert all("not complete after 0.3 s" in problem for problem in report.problems)
    assert cut_off == 3


def test_a_messenger_that_is_down_is_a_report_and_no_error() -> None:
    with served(well) as url:
        pass
    report = check(url, tries=1)
    assert len(report.problems) == 3
    assert report.as_dict()["healthy"] is False


@pytest.mark.parametrize("url", ["", "127.0.0.1:3000", "ftp://host", "http://", "http://host:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="no address"):
        check(url)


# -- where the API server cannot be asked ----------------------------------------------------------------------------------

#: Nothing listens there.
NOWHERE = "http://127.0.0.1:9"
#: What the CronJob runs.
COMMAND = [
    one
    for document in yaml.safe_load_all(Path("k8s/base/maintenance/health.yaml").read_text(encoding="utf-8"))
    if document["kind"] == "CronJob"
    for one in document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
]


def away(handler: BaseHTTPRequestHandler, _: str) -> None:
    reply(handler, 503, b"", **{"Retry-After": "0"})


def unwilling(handler: BaseHTTPRequestHandler, _: str) -> None:
    """As an API server answers a token that has ended."""
    reply(handler, 401)


def kubeconfig(folder: Path, server: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "users": [{"name": "me", "user": {}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def judged(folder: Path, api: Answer, url: str | None) -> tuple[Level, tuple[str, ...]]:
    with served(api) as server:
        cluster = Kubernetes(kubeconfig=kubeconfig(folder, server), in_cluster=False, health_url=url)
        platform = kubernetes_platform(Platform(kind="kubernetes", kubernetes=cluster), clock=SystemClock())
        return judge(check_all(platform, tries=1), Health())


def test_a_messenger_that_is_down_is_found_though_the_cluster_cannot_be_asked(tmp_path: Path) -> None:
    level, problems = judged(tmp_path, unwilling, NOWHERE)
    assert level is Level.DOWN
    assert problems[0].startswith(f"the address {NOWHERE} /health: no answer")


@pytest.mark.parametrize("api", [away, unwilling])
def test_a_cluster_that_cannot_be_asked_makes_a_messenger_that_answers_degraded(tmp_path: Path, api: Answer) -> None:
    with served(well) as url:
        level, (problem,) = judged(tmp_path, api, url)
    assert level is Level.DEGRADED
    assert problem.startswith("which instances are there cannot be asked")


def test_with_neither_an_address_nor_a_cluster_nothing_can_be_said(tmp_path: Path) -> None:
    with pytest.raises(PlatformDenied):
        judged(tmp_path, unwilling, None)


def test_the_command_of_the_cron_job_fails_and_tries_as_often_as_the_settings_say(tmp_path: Path) -> None:
    asked = []

    def down(handler: BaseHTTPRequestHandler, path: str) -> None:
        asked.append(path)
        reply(handler, 503)

    program, *arguments = COMMAND
    assert program == "g3zkp-maint"
    with served(down) as url, served(unwilling) as api:
        environment = {
            "G3ZKP_PLATFORM__KIND": "kubernetes",
            "G3ZKP_PLATFORM__KUBERNETES__KUBECONFIG": str(kubeconfig(tmp_path, api)),
            "G3ZKP_PLATFORM__KUBERNETES__HEALTH_URL": url,
            "G3ZKP_HEALTH__TRIES": "2",
        }
        done = subprocess.run(
            [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", *arguments],
            env={**os.environ, **environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1, done.stderr
    assert f"the address {url} /ready: answered 503" in done.stdout
    assert asked.count("/ready") == 2
