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
    """One schedule: some calls of all sorts through the proxy, and what may now be where. An `impatient` one may have
    given up a request that the server still carries out, so it writes nothing over and deletes nothing."""

    seed: int
    through: S3Store
    impatient: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    #: By key: each content that may be there now; None for none. One only: it must be that.
    possible: dict[str, set[str | None]] = field(default_factory=dict)
    #: By digest, while the trial runs.
    contents: dict[str, bytes] = field(default_factory=dict)

    def run(self) -> None:
        chance = random.Random(self.seed)
        large = chance.randrange(12)
        for number in range(4):
            key = f"s{self.seed}/{number % 3}"
            size = PART_BYTES + chance.randrange(1, 200_000) if number == large else chance.choice(SIZES)
            self._put(key, content_of(chance, size), if_absent=chance.random() < 0.6 or self.impatient)
            self._get(key)
            if number % 2:
                self._look(key, chance)
        if chance.random() < 0.5 and not self.impatient:
            self._delete(f"s{self.seed}/0")
            self._list()
        self.contents.clear()

    def _look(self, key: str, chance: random.Random) -> None:
        match chance.randrange(3):
            case 0:
                self._head(key)
            case 1:
                self._get_range(key, chance)
            case _:
                self._list()

    def _put(self, key: str, content: bytes, *, if_absent: bool) -> None:
        before = self.possible.setdefault(key, {None})
        digest = digest_of([content])
        self.contents[digest] = content
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

    def _get_range(self, key: str, chance: random.Random) -> None:
        possible = self._bodies(key)
        end = chance.randint(0, min((len(body) for body in possible if body is not None), default=0))
        start = chance.randint(0, end)
        try:
            found: bytes | None = b"".join(self.through.get(key, (start, end)))
        except ObjectMissing:
            found = None
        except StoreUnavailable:
            self.outcomes["range: unavailable"] += 1
            return
        self.outcomes["range: done"] += 1
        expected = [None if body is None else body[start:end] for body in possible]
        assert found in expected, f"seed {self.seed}: {start}-{end} of {key} is of nothing that was put there"

    def _head(self, key: str) -> None:
        try:
            info = self.through.head(key)
        except ObjectMissing:
            assert None in self.possible[key], f"seed {self.seed}: {key} is said to be missing"
        except StoreUnavailable:
            self.outcomes["head: unavailable"] += 1
            return
        else:
            digests = [found for found in self.possible[key] if found and len(self.contents[found]) == info.size]
            assert info.digest in digests or (info.digest is None and info.size > PART_BYTES and digests), (
                f"seed {self.seed}: {key} is said to be {info}, which nobody put there"
            )
        self.outcomes["head: done"] += 1

    def _list(self) -> None:
        try:
            found = {info.key: info.size for info in self.through.list(f"s{self.seed}/")}
        except StoreUnavailable:
            self.outcomes["list: unavailable"] += 1
            return
        self.outcomes["list: done"] += 1
        for key in self.possible:
            sizes = [None if body is None else len(body) for body in self._bodies(key)]
            assert found.pop(key, None) in sizes, f"seed {self.seed}: {key} is listed wrongly or not at all"
        assert not found, f"seed {self.seed}: nobody put {found}"

    def _bodies(self, key: str) -> list[bytes | None]:
        return [self.contents[digest] if digest else None for digest in self.possible[key]]

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
    """A proxy, and stores behind it: one that leaves every fault to the store's own attempts, one in which botocore tries
    twice (and pauses for long) before the store sees the fault, and one that waits for an answer for a second only."""

    proxy: FaultProxy
    own: S3Store
    with_botocore: S3Store
    impatient: S3Store

    def run(self, seed: int) -> tuple[Trial, Schedule]:
        is_impatient = seed % 4 == 1
        self.proxy.schedule = Schedule(seed, share=0.15 + seed % 5 * 0.1, silences=int(is_impatient))
        store = self.impatient if is_impatient else self.with_botocore if seed % 10 == 0 else self.own
        trial = Trial(seed, store, is_impatient)
        trial.run()
        return trial, self.proxy.schedule


@contextmanager
def line(seaweed: Seaweed, bucket: str) -> Iterator[Line]:
    with fault_proxy(seaweed.endpoint_url, Schedule(0)) as proxy:
        own, with_botocore, impatient = (
            S3Store(
                seaweed.settings(
                    bucket,
                    endpoint_url=proxy.url,
                    part_bytes=PART_BYTES,
                    attempts=attempts,
                    retry_seconds=0.01,
                    read_seconds=read_seconds,
                ),
                clock=SystemClock(),
            )
            for attempts, read_seconds in ((1, 10), (2, 10), (1, 1))
        )
        yield Line(proxy, own, with_botocore, impatient)


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
    print(outcomes, struck)
    assert all(struck[fault] > (10 if fault is Fault.SILENCE else 20) for fault in Fault), (
        f"some fault hardly struck: {struck}"
    )
    assert outcomes["put: done"] > 300
    assert outcomes["put: unavailable"] > 5, "the faults were too mild to show what a failed put leaves"
    assert all(outcomes[f"{call}: done"] > 80 for call in ("get", "range", "head", "list"))
    direct.sweep(datetime.now(UTC) + timedelta(hours=1))
    client = seaweed.client()
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert [
        item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", []) if "/." in item["Key"]
    ] == []
