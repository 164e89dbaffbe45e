"""The health check against a real server that misbehaves in known ways."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from g3zkp_maint.errors import BadInput
from g3zkp_maint.health.check import check

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
