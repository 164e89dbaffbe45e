"""Two hundred networks, each bad in its own way: nothing is lost, nothing is falsely whole, nothing stays behind."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue

import pytest

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.errors import ObjectExists, ObjectMissing, StoreUnavailable
from g3zkp_maint.stores.base import Chunk
from g3zkp_maint.stores.s3 import S3Store
from g3zkp_maint.testing.fault_proxy import Fault, FaultProxy, Schedule, fault_proxy
from g3zkp_maint.testing.seaweed import Seaweed

pytestmark = pytest.mark.integration

SCHEDULES = 200
LINES = 10
#: The least that servers allow; an object of more goes up by parts.
PART_BYTES = 5 << 20
SIZES = (0, 10, 30_000, 150_000, 300_000)


@dataclass
class Trial:
    """One schedule: some puts, gets and deletes through the proxy, and what may now be where."""

    seed: int
    through: S3Store
    outcomes: Counter[str] = field(default_factory=Counter)
    #: By key: each content that may be there now; None for none. One only: it must be that.
    possible: dict[str, set[str | None]] = field(default_factory=dict)

    def run(self) -> None:
        chance = random.Random(self.seed)
        large = chance.randrange(12)
        for number in range(4):
            key = f"s{self.seed}/{number % 3}"
            size = PART_BYTES + chance.randrange(1, 200_000) if number == large else chance.choice(SIZES)
            self._put(key, content_of(chance, size), if_absent=chance.random() < 0.6)
            self._get(key)
        if chance.random() < 0.5:
            self._delete(f"s{self.seed}/0")

    def _put(self, key: str, content: bytes, *, if_absent: bool) -> None:
        before = self.possible.setdefault(key, {None})
        digest = digest_of([content])
        try:
            self.through.put(key, pieces(content), if_absent=if_absent)
        except ObjectExists:
            self.outcomes["put: exists"] += 1
            assert before != {None}, f"seed {self.seed}: {key} is said to exist, and nobody has put it"
            self.possible[key] = before - {None}
        except StoreUnavailable:
            self.outcomes["put: unavailable"] += 1
            self.possible[key] = before | {digest}
        else:
            self.outcomes["put: done"] += 1
            assert not if_absent or None in before, f"seed {self.seed}: {key} was there and was put again"
            self.possible[key] = {digest}

    def _get(self, key: str) -> None:
        try:
            found: str | None = digest_of(self.through.get(key))
        except ObjectMissing:
            found = None
        except StoreUnavailable:
            self.outcomes["get: unavailable"] += 1
            return
        self.outcomes["get: done"] += 1
        assert found in self.possible[key], f"seed {self.seed}: {key} holds {found}, which nobody put there"

    def _delete(self, key: str) -> None:
        try:
            self.through.delete([key])
        except StoreUnavailable:
            self.possible[key] |= {None}
        else:
            self.possible[key] = {None}

    def check(self, direct: S3Store) -> None:
        for key, possible in self.possible.items():
            try:
                found: str | None = digest_of(direct.get(key))
            except ObjectMissing:
                found = None
            assert found in possible, f"seed {self.seed}: {key} holds {found}, which nobody put there"


def pieces(content: bytes) -> Iterator[Chunk]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


def content_of(chance: random.Random, size: int) -> bytes:
    """Of that size, and like no other."""
    block = chance.randbytes(1000)
    return (block * (size // len(block) + 1))[:size]


def digest_of(content: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in content:
        digest.update(piece)
    return digest.hexdigest()


@dataclass(frozen=True)
class Line:
    """A proxy, and stores behind it: one that leaves every fault to the store's own attempts, and one in which botocore
    tries twice (and pauses for long) before the store sees the fault."""

    proxy: FaultProxy
    own: S3Store
    with_botocore: S3Store

    def run(self, seed: int) -> tuple[Trial, Schedule]:
        self.proxy.schedule = Schedule(seed, share=0.15 + seed % 5 * 0.1)
        trial = Trial(seed, self.with_botocore if seed % 10 == 0 else self.own)
        trial.run()
        return trial, self.proxy.schedule


@contextmanager
def line(seaweed: Seaweed, bucket: str) -> Iterator[Line]:
    with fault_proxy(seaweed.endpoint_url, Schedule(0)) as proxy:
        own, with_botocore = (
            S3Store(
                seaweed.settings(
                    bucket,
                    endpoint_url=proxy.url,
                    part_bytes=PART_BYTES,
                    attempts=attempts,
                    retry_seconds=0.01,
                    read_seconds=10,
                ),
                clock=SystemClock(),
            )
            for attempts in (1, 2)
        )
        yield Line(proxy, own, with_botocore)


def run_all(seaweed: Seaweed, bucket: str) -> list[tuple[Trial, Schedule]]:
    lines: SimpleQueue[Line] = SimpleQueue()

    def run(seed: int) -> tuple[Trial, Schedule]:
        taken = lines.get()
        try:
            return taken.run(seed)
        finally:
            lines.put(taken)

    with ExitStack() as stack, ThreadPoolExecutor(LINES) as pool:
        for _ in range(LINES):
            lines.put(stack.enter_context(line(seaweed, bucket)))
        return list(pool.map(run, range(SCHEDULES)))


def test_under_200_fault_schedules_nothing_is_lost_or_falsely_whole_and_nothing_stays_behind(
    seaweed: Seaweed, bucket: str
) -> None:
    direct = S3Store(seaweed.settings(bucket), clock=SystemClock())
    done = run_all(seaweed, bucket)
    for trial, _ in done:
        trial.check(direct)
    struck = sum((schedule.struck for _, schedule in done), Counter[Fault]())
    outcomes = sum((trial.outcomes for trial, _ in done), Counter[str]())
    print(outcomes)
    assert all(struck[fault] > 20 for fault in Fault), f"some fault hardly struck: {struck}"
    assert outcomes["put: done"] > 300
    assert outcomes["put: unavailable"] > 5, "the faults were too mild to show what a failed put leaves"
    direct.sweep(datetime.now(UTC) + timedelta(hours=1))
    client = seaweed.client()
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert [
        item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", []) if "/." in item["Key"]
    ] == []
