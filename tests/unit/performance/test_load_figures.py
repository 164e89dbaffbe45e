"""What rounds, metrics, answers and runs come to."""

from __future__ import annotations

from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.history import RunLine
from g3zkp_maint.lack import Lack
from g3zkp_maint.performance import proof, throughput, volume
from g3zkp_maint.performance.figure import Figure, Unit
from g3zkp_maint.performance.load import Bounds, Round, figures, load

AT = datetime(2026, 3, 1, 4, tzinfo=UTC)


def test_a_figure_is_the_median_over_rounds_so_that_one_slow_round_does_not_tell() -> None:
    fast, slow = Round((0.001,) * 100, 1.0), Round((0.5,) * 100, 50.0)
    found = {one.name: one.value for one in figures("health", [fast, slow, fast])}
    assert found == {"health.p50": 0.001, "health.p95": 0.001, "health.p99": 0.001, "health.rate": 100.0}


@pytest.mark.parametrize("requests", [1, 7, 40])
def test_a_load_is_just_so_many_requests(requests: int) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        bounds = Bounds(requests=requests, seconds=30, rounds=5, side_by_side=2)
        load(f"http://127.0.0.1:{server.server_port}", "/health", bounds, clock=SystemClock())
        server.shutdown()
    assert asked == ["/health"] * requests


def test_quantiles_are_latencies_that_were_measured() -> None:
    latencies = tuple(number / 1000 for number in range(1, 101))
    found = {one.name: one.value for one in figures("ready", [Round(latencies, 2.0)])}
    assert found == {"ready.p50": 0.051, "ready.p95": 0.095, "ready.p99": 0.099, "ready.rate": 50.0}


def test_a_proof_is_told_as_the_slowest_instance_has_it() -> None:
    gauge = "# TYPE g3zkp_proof_generation_seconds gauge\ng3zkp_proof_generation_seconds {}\n"
    assert proof.measured([gauge.format(2.5), gauge.format(4), ""]) == Figure("proof", 4.0, Unit.SECONDS)


def test_a_histogram_of_proofs_is_told_by_its_mean() -> None:
    name = "g3zkp_proof_generation_seconds"
    text = f'# TYPE {name} histogram\n{name}_bucket{{le="+Inf"}} 4\n{name}_sum 10\n{name}_count 4\n'
    assert proof.measured([text]) == Figure("proof", 2.5, Unit.SECONDS)


def test_where_no_proof_was_made_that_is_said() -> None:
    found = proof.measured(["g3zkp_errors_total 0\n", "no metrics at all {"])
    assert isinstance(found, Lack)
    assert "none has made a proof" in found.why


def test_a_volume_that_reads_through_its_cache_only_is_not_told_by_the_cache() -> None:
    found, lacks = volume.judged({"write": 0.5, "read": None}, 32)
    assert found == (Figure("volume.write", 64 * (1 << 20), Unit.BYTES_PER_SECOND),)
    assert [one.what for one in lacks] == ["volume.read"]


def _run(**changed: object) -> RunLine:
    fields = {"run": "r", "task": "backup.run", "slot": "s", "state": "finished", "outcome": "ok", "started": AT}
    numbers = {"seconds": 10.0, "bytes": 100 << 20, "attempts": 0, "message": ""}
    return RunLine(**{**fields, **numbers, **changed})  # type: ignore[arg-type]


def test_the_backups_of_a_week_count_by_all_their_bytes_and_time() -> None:
    runs = [_run(), _run(seconds=30.0), _run(state="failed", outcome="store", seconds=9e9), _run(bytes=5, seconds=9e9)]
    assert throughput.measured(runs) == Figure("backup.rate", 5 * (1 << 20), Unit.BYTES_PER_SECOND)


def test_a_week_without_backups_is_a_lack() -> None:
    assert isinstance(throughput.measured([_run(task="cleanup.run")]), Lack)
