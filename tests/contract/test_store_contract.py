"""What every store must do: the folder, and S3 (against a real server)."""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.errors import BadInput, ObjectExists, ObjectMissing, StoreError
from g3zkp_maint.stores.base import Chunk, Store, Stored
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.stores.s3 import S3Store
from g3zkp_maint.stores.staged import StagedStore
from g3zkp_maint.testing.seaweed import Seaweed


@pytest.fixture
def directory_store(tmp_path: Path) -> Store:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def s3_store(seaweed: Seaweed) -> Store:
    """In a bucket of its own."""
    bucket = f"contract-{secrets.token_hex(6)}"
    seaweed.client().create_bucket(Bucket=bucket)
    return S3Store(seaweed.settings(bucket), clock=SystemClock())


@pytest.fixture
def staged_store(tmp_path: Path) -> Store:
    return StagedStore(DirectoryStore(tmp_path / "store"), tmp_path / "staging", keep_days=7, clock=SystemClock())


@pytest.fixture(params=["directory", "staged", pytest.param("s3", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest) -> Store:
    """A further adapter is a fixture of its name and a parameter here."""
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


class OwnError(Exception):
    """An error of the caller."""


def content(store: Store, key: str) -> bytes:
    return b"".join(store.get(key))


def keys(store: Store, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


# -- put, get, head ----------------------------------------------------------------------------------------------------


def test_what_is_put_is_got_with_its_size_and_digest(store: Store) -> None:
    chunks: list[Chunk] = [b"one", bytearray(b"two"), memoryview(b"three"), b""]
    stored = store.put("a/b/c", chunks)
    assert stored == Stored(11, hashlib.sha256(b"onetwothree").hexdigest())
    assert content(store, "a/b/c") == b"onetwothree"


@pytest.mark.parametrize("chunks", [[], [b""]])
def test_an_object_of_no_bytes_is_an_object(store: Store, chunks: list[Chunk]) -> None:
    assert store.put("empty", chunks) == Stored(0, hashlib.sha256(b"").hexdigest())
    assert content(store, "empty") == b""
    assert store.head("empty").size == 0
    assert keys(store) == ["empty"]


def test_a_second_put_replaces_the_object(store: Store) -> None:
    store.put("a", [b"a longer one"])
    store.put("a", [b"new"])
    assert content(store, "a") == b"new"


@pytest.mark.parametrize("span", [(0, 0), (0, 1), (3, 7), (9, 10), (0, 10), (10, 10)])
def test_a_range_is_from_its_first_byte_to_before_its_last(store: Store, span: tuple[int, int]) -> None:
    store.put("a", [b"0123456789"])
    assert b"".join(store.get("a", span)) == b"0123456789"[span[0] : span[1]]


@pytest.mark.parametrize("span", [(0, 11), (11, 11), (-1, 3), (5, 4)])
def test_a_range_outside_of_the_object_is_refused(store: Store, span: tuple[int, int]) -> None:
    store.put("a", [b"0123456789"])
    with pytest.raises(BadInput, match="range"):
        b"".join(store.get("a", span))


def test_a_head_tells_size_and_time_and_a_digest_only_if_it_is_right(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    stored = store.put("a", [b"content"])
    info = store.head("a")
    assert (info.key, info.size) == ("a", 7)
    assert before <= info.modified <= datetime.now(UTC) + timedelta(seconds=5)
    assert info.digest in {None, stored.digest}


@pytest.mark.parametrize("key", ["missing", "there/missing", "there", "there/object/below"])
def test_a_missing_object_is_missing_for_get_and_head(store: Store, key: str) -> None:
    store.put("there/object", [b""])
    with pytest.raises(ObjectMissing):
        content(store, key)
    with pytest.raises(ObjectMissing):
        store.head(key)


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "a/../b", "..", ".", "a/./b", "a//b", "a/", ".hidden", "a/.hidden", "a\0b"]
)
def test_a_key_that_is_no_relative_path_is_refused_by_every_call(store: Store, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.put(key, [b""]),
        lambda: store.put(key, [b""], if_absent=True),
        lambda: content(store, key),
        lambda: store.head(key),
        lambda: store.delete([key]),
    ]
    for call in calls:
        with pytest.raises(BadInput, match="is not a store key"):
            call()
    assert keys(store) == []


# -- list, delete ------------------------------------------------------------------------------------------------------


def test_a_list_is_ordered_by_key_and_begins_with_its_prefix(store: Store) -> None:
    made = ["b", "a/b", "a-b", "a.b", "a/b.c", "a/c/d", "ab", "ü", "A"]
    for key in made:
        store.put(key, [key.encode()])
    assert keys(store) == sorted(made)
    for prefix in ("", "a", "a/", "a/b", "a/c/", "a/c/d", "ab", "none", "none/", "a/b/"):
        assert keys(store, prefix) == sorted(key for key in made if key.startswith(prefix))
    assert [info.size for info in store.list("a/")] == [3, 5, 5]


def test_a_list_leads_out_of_no_store(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"")
    store.put("a", [b""])
    with pytest.raises(BadInput):
        keys(store, "../")


def test_a_list_of_a_store_that_was_never_written_is_empty(store: Store) -> None:
    assert keys(store) == []


def test_delete_counts_what_was_there_and_leaves_the_rest(store: Store) -> None:
    for key in ("a/b/c", "a/b/d", "e"):
        store.put(key, [b""])
    assert store.delete(["a/b/c", "a/b/c", "missing", "a/b", "e/below"]) == 1
    assert keys(store) == ["a/b/d", "e"]
    store.put("a/b/c", [b"again"])
    assert content(store, "a/b/c") == b"again"


# -- at once -----------------------------------------------------------------------------------------------------------


def test_of_eight_that_put_if_absent_exactly_one_wins_with_all_of_its_content(store: Store) -> None:
    barrier = Barrier(8)

    def write(number: int) -> bool:
        def chunks() -> Iterator[bytes]:
            for _ in range(20):
                yield bytes([number]) * 10_000
            barrier.wait(30)

        try:
            store.put("only", chunks(), if_absent=True)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert won.count(True) == 1
    assert content(store, "only") == bytes([won.index(True)]) * 200_000
    assert keys(store) == ["only"]


def test_if_absent_refuses_a_taken_key_and_leaves_its_object(store: Store) -> None:
    store.put("a", [b"first"])
    with pytest.raises(ObjectExists):
        store.put("a", [b"second"], if_absent=True)
    assert content(store, "a") == b"first"


def test_puts_survive_deletes_that_empty_their_folder_all_the_time(store: Store) -> None:
    """A folder that one removes as it is empty may be the one in which another is about to write."""

    def churn(number: int) -> None:
        for _ in range(150):
            store.put(f"deep/er/{number}", [b"x"])
            assert store.delete([f"deep/er/{number}"]) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(churn, range(4)))
    assert keys(store) == []


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OwnError("mine"), OSError(28, "mine"), FileExistsError(17, "mine")], ids=repr)
@pytest.mark.parametrize("if_absent", [False, True])
def test_an_error_in_the_chunks_passes_unchanged_and_nothing_is_visible(
    store: Store, error: Exception, if_absent: bool
) -> None:
    def chunks() -> Iterator[bytes]:
        yield bytes(3 << 20)
        assert keys(store) == []
        raise error

    with pytest.raises(type(error)) as caught:
        store.put("a/b", chunks(), if_absent=if_absent)
    assert caught.value is error
    assert keys(store) == []
    with pytest.raises(ObjectMissing):
        store.head("a/b")


def test_an_error_in_the_chunks_leaves_the_object_that_was_there(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise OwnError

    store.put("a", [b"whole"])
    with pytest.raises(OwnError):
        store.put("a", chunks())
    assert content(store, "a") == b"whole"


def test_what_is_being_put_is_not_listed(store: Store) -> None:
    seen: list[list[str]] = []

    def chunks() -> Iterator[bytes]:
        yield bytes(2 << 20)
        seen.append(keys(store))
        yield b"end"

    store.put("a/b", chunks())
    assert seen == [[]]
    assert keys(store) == ["a/b"]


def test_an_object_of_any_size_takes_bounded_memory(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(400):
            yield bytes(1 << 20)

    tracemalloc.start()
    try:
        store.put("big", chunks())
        largest = max(len(piece) for piece in store.get("big"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.head("big").size == 400 << 20
    assert largest <= 8 << 20
    assert peak < 64 << 20


# -- the directory's own -----------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from g3zkp_maint.stores.directory import DirectoryStore

def chunks():
    yield bytes(5 << 20)
    print("writing", flush=True)
    sys.stdin.read()

DirectoryStore(Path(sys.argv[1])).put("a/b", chunks(), if_absent=True)
"""


@pytest.mark.integration
def test_a_writer_killed_in_the_middle_leaves_nothing_visible_and_the_sweep_takes_the_rest(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        writer.kill()
    assert keys(store) == []
    (part,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store.sweep(datetime.now(UTC) - timedelta(hours=1)) == 0
    os.utime(part, (time.time() - 7200,) * 2)
    assert store.sweep(datetime.now(UTC) - timedelta(hours=1)) == 1
    assert not part.exists()
    store.put("a/b", [b"second try"], if_absent=True)
    assert keys(store) == ["a/b"]


def test_a_key_below_an_object_is_refused_and_the_object_stays(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put("a", [b"object"])
    with pytest.raises(StoreError, match="a/b"):
        store.put("a/b", [b""])
    assert content(store, "a") == b"object"


def test_what_others_keep_in_the_folder_is_neither_listed_nor_swept(tmp_path: Path) -> None:
    for name in (".snapshot/a", "lost+found/b", ".hidden"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    store = DirectoryStore(tmp_path)
    store.put("c", [b""])
    assert keys(store) == ["c"]
    assert store.sweep(datetime.now(UTC) + timedelta(days=1)) == 0


def test_an_object_that_becomes_shorter_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put("a", [bytes(3 << 20)])
    pieces = store.get("a")
    next(pieces)
    os.truncate(tmp_path / "a", 1 << 20)
    with pytest.raises(StoreError, match="became shorter"):
        list(pieces)
