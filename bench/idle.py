"""What watching costs while nothing happens: the exporter and the health run of every five minutes, on a whole stack.

    python bench/idle.py                         # some two minutes
    python bench/idle.py --runs 100000 --seconds 60 --json

A journal of 100,000 runs, scrapes every 15 s. What is added up:

- the exporter's process, with one look at store, keys and messenger in the time that is measured: the default is one every
  300 s, so this is more than it costs;
- the health run: CPU of the observe worker and its child over ten runs, a tenth of it over 300 s. It runs in a worker that
  is there anyway, for canaries and the reaper; so of memory it is what these have grown by since before the first run;
- `g3zkp-maint health check`, which a CronJob of k8s/ starts every 300 s, independently of Celery: CPU of the whole process.
  At rest it has no memory, as it is not there.

Prints a Markdown table, and fails where a promise is not kept: together under 1 % of a core and 80 MiB, and each scrape
under 50 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from backup import pss_mib

from g3zkp_maint.stack import inquiry
from g3zkp_maint.testing.long_journal import health_runs, write_journal
from g3zkp_maint.testing.running_stack import RunningStack, running_stack, wait_for

CORE_PERCENT = 1.0
MIB = 80.0
SCRAPE_MS = 50.0

SCRAPE_EVERY_SECONDS = 15.0
HEALTH_EVERY_SECONDS = 300.0
_HEALTH_RUNS = 10
_SCRAPES = 20
_TICK = os.sysconf("SC_CLK_TCK")
_HEALTH = f"""
from workers.observe import health
for _ in range({_HEALTH_RUNS}):
    health.delay().get(timeout=60)
"""
_CHECK = "import sys; sys.argv = ['', 'health', 'check']; from g3zkp_maint.cli import main; main()"
_BACKUP = 'from workers.backup import run; run.delay("full").get(timeout=120)'


@dataclass(frozen=True)
class Cost:
    """At rest. `scrape_ms` is the slowest of `scrapes`; shares are in percent of a core."""

    runs: int
    exporter_core_percent: float
    exporter_mib: float
    health_cpu_ms: float
    health_core_percent: float
    health_mib: float
    check_cpu_ms: float
    check_core_percent: float
    scrape_median_ms: float
    scrape_ms: float

    @property
    def core_percent(self) -> float:
        return self.exporter_core_percent + self.health_core_percent + self.check_core_percent

    @property
    def mib(self) -> float:
        return self.exporter_mib + self.health_mib

    def broken(self) -> list[str]:
        """The promises that are not kept."""
        kept = {
            f"{self.core_percent:.2f} % of a core, promised {CORE_PERCENT:g}": self.core_percent < CORE_PERCENT,
            f"{self.mib:.0f} MiB, promised {MIB:g}": self.mib < MIB,
            f"a scrape of {self.scrape_ms:.0f} ms, promised {SCRAPE_MS:g}": self.scrape_ms < SCRAPE_MS,
        }
        return [text for text, is_kept in kept.items() if not is_kept]


def measure(work: Path, runs: int, seconds: float) -> Cost:
    """On a stack of its own below `work`."""
    environment = {
        # All of the runs are kept, and the background looks once while it is measured.
        "G3ZKP_COORDINATION__JOURNAL_RECORDS": str(4 * runs + 1000),
        "G3ZKP_METRICS__REFRESH_SECONDS": str(max(30, round(seconds))),
    }
    with running_stack(work, "--no-fleets", "--no-flower", environment=environment) as stack:
        _said(f"writing a journal of {runs:,} runs")
        write_journal(_redis_url(stack), health_runs(runs, until=datetime.now(UTC)))
    with running_stack(work, "--no-flower", environment=environment) as stack:
        url = inquiry.addresses(stack.layout)["metrics"]
        wait_for(lambda: _has_read(url, runs), 120, lambda: "the exporter does not come to the journal's end")
        _asked(stack, _BACKUP)
        worker = _family(stack.pid("observe"))
        before_mib = sum(map(pss_mib, worker))
        health_cpu = _cpu_seconds(worker)
        _said(f"{_HEALTH_RUNS} health runs")
        _asked(stack, _HEALTH)
        health_cpu = (_cpu_seconds(worker) - health_cpu) / _HEALTH_RUNS
        health_mib = sum(map(pss_mib, worker)) - before_mib
        check_cpu = _check_cpu_seconds(stack)
        took = sorted(_scrape(url) for _ in range(_SCRAPES))
        _said(f"at rest for {seconds:g} s")
        share = _share_at_rest(stack.pid("metrics"), url, seconds)
        return Cost(
            runs,
            exporter_core_percent=100 * share,
            exporter_mib=pss_mib(stack.pid("metrics")),
            health_cpu_ms=1000 * health_cpu,
            health_core_percent=100 * health_cpu / HEALTH_EVERY_SECONDS,
            health_mib=max(0.0, health_mib),
            check_cpu_ms=1000 * check_cpu,
            check_core_percent=100 * check_cpu / HEALTH_EVERY_SECONDS,
            scrape_median_ms=1000 * took[len(took) // 2],
            scrape_ms=1000 * took[-1],
        )


def _share_at_rest(pid: int, url: str, seconds: float) -> float:
    """Of a core, while it is scraped every 15 s."""
    before, began = _cpu_seconds([pid]), time.monotonic()
    while (left := began + seconds - time.monotonic()) > 0:
        _scrape(url)
        time.sleep(min(left, SCRAPE_EVERY_SECONDS))
    return (_cpu_seconds([pid]) - before) / (time.monotonic() - began)


def _check_cpu_seconds(stack: RunningStack) -> float:
    """Of a health check as a process of its own, the cheapest of three: the first reads what is not in memory yet."""
    return min(_asked(stack, _CHECK) for _ in range(3))


def _scrape(url: str) -> float:
    """Its seconds, from the request to the last byte."""
    began = time.perf_counter()
    with urllib.request.urlopen(url) as answer:
        answer.read()
    return time.perf_counter() - began


def _has_read(url: str, runs: int) -> bool:
    with urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    counts = [float(line.split()[1]) for line in lines if line.startswith("g3zkp_maint_journal_records_total")]
    return bool(counts) and counts[0] >= 3 * runs


def _cpu_seconds(pids: list[int]) -> float:
    """User and system time that they have used so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / _TICK


def _family(pid: int) -> list[int]:
    """It and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


def _redis_url(stack: RunningStack) -> str:
    line = next(line for line in stack.layout.env_file.read_text().splitlines() if "G3ZKP_REDIS__URL" in line)
    return line.partition("=")[2].strip("'")


def _asked(stack: RunningStack, program: str) -> float:
    """Runs it as the operator would, and returns the CPU seconds that it took."""
    command = f'. {stack.layout.env_file} && exec "$@"'
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    arguments = ["sh", "-c", command, "sh", sys.executable, "-c", program]
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _said(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def as_table(cost: Cost) -> str:
    """In Markdown."""
    return "\n".join(
        (
            f"{cost.runs:,} runs in the journal, a scrape every {SCRAPE_EVERY_SECONDS:g} s",
            "",
            "| | of a core | MiB |",
            "|---|---:|---:|",
            f"| exporter | {cost.exporter_core_percent:.2f} % | {cost.exporter_mib:.0f} |",
            (
                f"| health run, {cost.health_cpu_ms:.0f} ms every 5 minutes | {cost.health_core_percent:.2f} % "
                f"| {cost.health_mib:.0f} |"
            ),
            f"| health check of the CronJob, {cost.check_cpu_ms:.0f} ms | {cost.check_core_percent:.2f} % | - |",
            f"| together | {cost.core_percent:.2f} % | {cost.mib:.0f} |",
            f"| promised, less than | {CORE_PERCENT:g} % | {MIB:g} |",
            "",
            (
                f"A scrape: {cost.scrape_median_ms:.0f} ms, the slowest of {_SCRAPES} {cost.scrape_ms:.0f} ms; promised, "
                f"less than {SCRAPE_MS:g} ms."
            ),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000, help="in the journal")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long the exporter is measured at rest")
    parser.add_argument("--json", action="store_true", help="numbers instead of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="g3zkp-idle-") as work:
        cost = measure(Path(work) / "state", options.runs, options.seconds)
    print(json.dumps(asdict(cost)) if options.json else as_table(cost))
    if broken := cost.broken():
        raise SystemExit("not as promised:\n  " + "\n  ".join(broken))


if __name__ == "__main__":
    main()
