"""A process that takes a lease or begins a run, tells so, and does as it is told on stdin. Started by the tests.

holder.py lease URL TTL OWNER    then a line "check" is answered with "held" or the error's code
holder.py run URL TTL OWNER      prints "started N", "finished", or the error's code; then waits to be killed
"""

from __future__ import annotations

import sys

import structlog

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination import Leases, Mode, Runs, Started, connect
from g3zkp_maint.errors import MaintenanceError


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def hold(leases: Leases, owner: str) -> None:
    lease = leases.acquire({"data": Mode.EXCLUSIVE}, owner=owner)
    say(f"held {lease.token}")
    for _ in sys.stdin:
        try:
            lease.ensure_held()
            say("held")
        except MaintenanceError as error:
            say(error.code)


def run(leases: Leases, owner: str, url: str) -> None:
    runs = Runs(connect(url), clock=SystemClock(), leases=leases, keep_days=1, max_attempts=3, handoff_seconds=60)
    try:
        found = runs.begin("backup.run", "slot", owner=owner, signature="s", deadline_seconds=60)
    except MaintenanceError as error:
        return say(error.code)
    say(f"started {found.attempt}" if isinstance(found, Started) else "finished")
    sys.stdin.readline()
    return None


def main() -> None:
    # Stdout is for the answers.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    what, url, ttl, owner = sys.argv[1:]
    leases = Leases(connect(url), clock=SystemClock(), ttl_seconds=float(ttl), renew_seconds=float(ttl) / 3)
    if what == "lease":
        hold(leases, owner)
    else:
        run(leases, owner, url)


if __name__ == "__main__":
    main()
