"""Leases against a real Valkey, with real time, real threads and real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from g3zkp_maint.coordination import Lease, Mode
from g3zkp_maint.errors import LeaseBusy, LeaseLost

pytestmark = pytest.mark.integration
HOLDER = Path(__file__).with_name("holder.py")
SHARED, EXCLUSIVE = Mode.SHARED, Mode.EXCLUSIVE


@pytest.fixture
def start_holder(redis_url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(what: str, ttl: float, owner: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HOLDER), what, redis_url, str(ttl), owner]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def poll(attempt: Callable[[], Lease], *, seconds: float) -> Lease:
    """The lease, asked for again and again until the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except LeaseBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def hold_for(lease: Lease, seconds: float) -> None:
    """Asks all the while whether it is still held."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lease.ensure_held()
        time.sleep(0.02)


def forked(work: Callable[[], None]) -> Callable[[], int]:
    """Starts `work` in a child, and gives what waits for it and tells its exit status: 1 for a lost lease."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            work()
            status = 0
        except LeaseLost:
            status = 1
        finally:
            os._exit(status)
    return lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_renewal_keeps_a_lease_across_three_times_to_live_also_for_a_forked_child(make_leases):
    leases = make_leases(0.9)
    with leases.acquire({"data": EXCLUSIVE}, owner="one") as lease:
        child_status = forked(lambda: hold_for(lease, 3 * 0.9))
        hold_for(lease, 3 * 0.9)
        lease.verify()
        assert child_status() == 0
        with pytest.raises(LeaseBusy):
            leases.acquire({"data": SHARED}, owner="two")
    leases.acquire({"data": SHARED}, owner="two").release()


def test_a_forked_child_learns_that_the_lease_is_lost(make_leases):
    leases = make_leases(60)
    with leases.acquire({"data": EXCLUSIVE}, owner="one") as lease:
        child_status = forked(lambda: hold_for(lease, 10))
        leases.break_("data")
        with pytest.raises(LeaseLost):
            lease.verify()
        assert child_status() == 1


def test_a_killed_holder_is_out_after_one_time_to_live_and_not_before(make_leases, start_holder):
    holder = start_holder("lease", 1.5, "one")
    first = int(holder.stdout.readline().split()[1])
    holder.kill()
    killed = time.monotonic()
    leases = make_leases()
    with poll(lambda: leases.acquire({"data": EXCLUSIVE}, owner="two"), seconds=5) as lease:
        # The last renewal was at most a third of the time to live before.
        assert time.monotonic() - killed >= 1.5 * 2 / 3 - 0.1
        assert lease.token > first


def test_a_dead_shared_holder_falls_out_while_others_stay(make_leases, start_holder, client):
    leases = make_leases()
    stays = leases.acquire({"data": SHARED}, owner="stays")
    dead = make_leases(0.3).acquire({"data": SHARED}, owner="dies")
    dead._released.set()  # its thread stops renewing, as if the process were gone
    deadline = time.monotonic() + 3
    while len(leases.holders()) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [h.owner for h in leases.holders()] == ["stays"]
    stays.verify()
    stays.release()
    leases.acquire({"data": EXCLUSIVE}, owner="next").release()
    assert client.keys("g3zkp:lease:*") == []


def test_a_holder_that_was_stopped_while_another_took_over_learns_it_before_its_next_step(make_leases, start_holder):
    holder = start_holder("lease", 1.0, "one")
    first = int(holder.stdout.readline().split()[1])
    holder.stdin.write("check\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "held\n"

    holder.send_signal(signal.SIGSTOP)
    leases = make_leases()
    with poll(lambda: leases.acquire({"data": EXCLUSIVE}, owner="two"), seconds=10) as lease:
        assert lease.token > first
        holder.stdin.write("check\n")
        holder.stdin.flush()
        holder.send_signal(signal.SIGCONT)
        assert holder.stdout.readline() == "lease-lost\n"
        lease.verify()


def test_a_restart_of_redis_within_the_time_to_live_loses_no_lease(valkey, make_leases):
    leases = make_leases(6)
    with leases.acquire({"data": EXCLUSIVE}, owner="one") as lease:
        valkey.stop()
        lease.verify()
        valkey.start()
        lease.ensure_held()
        hold_for(lease, 6.5)  # renewed since, or it would have run out
        lease.verify()
        assert [h.token for h in leases.holders()] == [lease.token]


def test_a_redis_that_stays_away_loses_the_lease_at_its_time_to_live(valkey, make_leases):
    lease = make_leases(1.0).acquire({"data": EXCLUSIVE}, owner="one")
    valkey.stop()
    try:
        with pytest.raises(LeaseLost):
            hold_for(lease, 5)
        lease.release()
    finally:
        valkey.start()


def test_a_stream_of_shared_holders_does_not_starve_an_exclusive_waiter(make_leases):
    leases = make_leases(5)
    stop = threading.Event()
    turns = [0, 0, 0]

    def read(number: int) -> None:
        while not stop.is_set():
            try:
                with leases.acquire({"data": SHARED}, owner=f"reader-{number}"):
                    turns[number] += 1
                    stop.wait(0.05)
            except LeaseBusy:
                stop.wait(0.01)

    readers = [threading.Thread(target=read, args=(n,)) for n in range(3)]
    for reader in readers:
        reader.start()
    try:
        deadline = time.monotonic() + 10
        while min(turns) < 2:
            assert time.monotonic() < deadline
        poll(lambda: leases.acquire({"data": EXCLUSIVE}, owner="cleanup"), seconds=3).release()
    finally:
        stop.set()
        for reader in readers:
            reader.join()


def test_never_two_at_once_under_contention(make_leases):
    leases = make_leases(5)
    inside: list[str] = []
    clashes: list[list[str]] = []
    tokens: list[int] = []

    def work(owner: str) -> None:
        for _ in range(10):
            with poll(lambda: leases.acquire({"data": EXCLUSIVE, "keys": EXCLUSIVE}, owner=owner), seconds=30) as lease:
                inside.append(owner)
                tokens.append(lease.tokens["data"])
                if len(inside) > 1:
                    clashes.append(list(inside))
                inside.remove(owner)

    workers = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert clashes == []
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 50
