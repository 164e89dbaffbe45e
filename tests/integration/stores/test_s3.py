"""What only the S3 store has, on a real server. What every store must do: tests/contract/test_store_contract.py."""

from __future__ import annotations

import hashlib
import multiprocessing
import secrets
import socket
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.errors import ObjectExists, ObjectMissing, SettingsError, StoreError, StoreUnavailable
from g3zkp_maint.settings import S3Store as S3Settings
from g3zkp_maint.stores import s3_upload
from g3zkp_maint.stores.base import Stored
from g3zkp_maint.stores.s3 import S3Store
from g3zkp_maint.stores.s3_bucket import Bucket
from g3zkp_maint.stores.s3_claim import Claim, Undecided
from g3zkp_maint.testing.fault_proxy import Always, Fault, FaultProxy, Script, fault_proxy
from g3zkp_maint.testing.seaweed import READER, Access, Seaweed

pytestmark = pytest.mark.integration

MIB = 1 << 20
PART = 5 * MIB
LATER = timedelta(hours=1)


@pytest.fixture
def settings(seaweed: Seaweed, bucket: str) -> S3Settings:
    return seaweed.settings(bucket, part_bytes=PART, retry_seconds=0.01, attempts=1)


@pytest.fixture
def store(settings: S3Settings) -> S3Store:
    return made(settings)


@pytest.fixture
def proxy(seaweed: Seaweed) -> Iterator[FaultProxy]:
    with fault_proxy(seaweed.endpoint_url, Script()) as found:
        yield found


@pytest.fixture
def harmed(settings: S3Settings, proxy: FaultProxy) -> S3Store:
    """The store, through the proxy."""
    return made(settings.model_copy(update={"endpoint_url": proxy.url}))


def made(settings: S3Settings) -> S3Store:
    return S3Store(settings, clock=SystemClock())


def large(letter: bytes = b"x", size: int = PART + 1) -> Iterator[bytes]:
    """An object that goes up by parts."""
    for start in range(0, size, MIB):
        yield letter * min(MIB, size - start)


def uploads(seaweed: Seaweed, bucket: str) -> list[Any]:
    return list(seaweed.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def raw_keys(seaweed: Seaweed, bucket: str) -> list[str]:
    """With the claims."""
    return [item["Key"] for item in seaweed.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


# -- many and large ----------------------------------------------------------------------------------------------------


def test_1500_keys_are_listed_in_order_and_deleted(store: S3Store) -> None:
    keys = [f"many/{number:04}" for number in range(1500)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, [b"x"]), keys))
    store.put("many-others", [b"x"])
    assert [info.key for info in store.list("many/")] == keys
    assert store.delete([*keys, "many/none"]) == 1500
    assert [info.key for info in store.list("")] == ["many-others"]


def test_64_mib_go_up_by_parts_in_the_memory_that_the_settings_allow(settings: S3Settings) -> None:
    store = made(settings.model_copy(update={"parts_in_flight": 2}))
    store.put("warm", large())
    digest = hashlib.sha256()
    for chunk in large(b"y", 64 * MIB + 7):
        digest.update(chunk)
    tracemalloc.start()
    try:
        stored = store.put("big", large(b"y", 64 * MIB + 7))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored == Stored(64 * MIB + 7, digest.hexdigest())
    assert store.head("big").size == 64 * MIB + 7
    assert peak < 3 * PART + 6 * MIB
    found = hashlib.sha256()
    for piece in store.get("big"):
        found.update(piece)
    assert found.hexdigest() == stored.digest


def test_an_object_of_more_parts_than_s3_has_is_refused_with_the_setting_to_raise(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, seaweed: Seaweed, bucket: str
) -> None:
    monkeypatch.setattr(s3_upload, "_MOST_PARTS", 2)
    with pytest.raises(StoreError, match=r"store\.s3\.part_bytes"):
        store.put("too-big", large(size=2 * PART + 1))
    assert uploads(seaweed, bucket) == []


@pytest.mark.parametrize("checksum", ["crc32", "sha256", "none"])
def test_the_server_keeps_the_checksum_that_the_settings_name(
    settings: S3Settings, seaweed: Seaweed, bucket: str, checksum: str
) -> None:
    store = made(settings.model_copy(update={"checksum": checksum}))
    stored = store.put("small", [b"content"])
    store.put("large", large())
    found = seaweed.client().head_object(Bucket=bucket, Key="small", ChecksumMode="ENABLED")
    expected = {"crc32": {"ChecksumCRC32"}, "sha256": {"ChecksumSHA256"}, "none": set()}[checksum]
    assert {name for name in found if name in {"ChecksumCRC32", "ChecksumSHA256"}} == expected
    assert store.head("small").digest == stored.digest
    assert store.head("large").digest is None
    assert store.delete(["small", "large"]) == 2


@pytest.mark.parametrize("size", [7, PART + 1])
def test_what_does_not_match_its_checksum_is_not_stored(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, seaweed: Seaweed, bucket: str, size: int
) -> None:
    monkeypatch.setattr(Bucket, "checksum", lambda self, body: {"ChecksumCRC32": "AAAAAA=="})
    with pytest.raises(StoreUnavailable, match=r"BadDigest|InvalidRequest"):
        store.put("a", large(size=size))
    assert list(store.list("")) == []
    assert uploads(seaweed, bucket) == []


# -- only one ----------------------------------------------------------------------------------------------------------


def test_of_eight_uploads_by_parts_exactly_one_wins_and_nothing_of_the_others_stays(
    store: S3Store, seaweed: Seaweed, bucket: str
) -> None:
    """SeaweedFS's conditional completion alone lets several win."""
    for number in range(3):
        barrier = Barrier(8)
        key = f"folder/only-{number}"

        def write(index: int, key: str = key, barrier: Barrier = barrier) -> bool:
            def chunks() -> Iterator[bytes]:
                yield from large(bytes([index]))
                barrier.wait(60)

            try:
                store.put(key, chunks(), if_absent=True)
            except ObjectExists:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, range(8)))
        assert won.count(True) == 1
        assert b"".join(store.get(key)) == bytes([won.index(True)]) * (PART + 1)
    assert raw_keys(seaweed, bucket) == [f"folder/only-{number}" for number in range(3)]
    assert uploads(seaweed, bucket) == []


def begun(seaweed: Seaweed, bucket: str, key: str) -> str:
    """A multipart upload with one part, of a writer that then died."""
    client = seaweed.client()
    upload_id = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=1, Body=b"dead")
    return upload_id


def test_a_dead_writers_claim_is_taken_over_and_its_upload_can_complete_no_more(
    settings: S3Settings, seaweed: Seaweed, bucket: str
) -> None:
    shared = Bucket(settings, clock=SystemClock())
    dead = begun(seaweed, bucket, "f/key")
    Claim(shared, "f/key", dead)._acquire()
    assert raw_keys(seaweed, bucket) == ["f/.claim-key"]
    with Claim(shared, "f/key", "mine", stale=timedelta(0)).held():
        assert uploads(seaweed, bucket) == []
        body = seaweed.client().get_object(Bucket=bucket, Key="f/.claim-key")["Body"].read()
        assert body == b"mine"
    assert raw_keys(seaweed, bucket) == []


def test_a_living_writers_claim_is_waited_for_and_then_its_object_is_there(
    settings: S3Settings, store: S3Store
) -> None:
    shared = Bucket(settings, clock=SystemClock())
    is_held, may_go = Event(), Event()

    def hold() -> None:
        with Claim(shared, "key", "first").held():
            is_held.set()
            may_go.wait(30)
            store.put("key", [b"first"])

    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(hold)
        assert is_held.wait(30)
        second = pool.submit(lambda: store.put("key", large(), if_absent=True))
        assert not second.done()
        may_go.set()
        with pytest.raises(ObjectExists):
            second.result(60)
        holder.result()
    assert b"".join(store.get("key")) == b"first"


def test_a_claim_stays_while_nobody_knows_whether_the_upload_was_completed(
    harmed: S3Store, proxy: FaultProxy, seaweed: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = s3_upload._Multipart._complete

    def cut_off(self: s3_upload._Multipart, *arguments: Any) -> None:
        proxy.schedule = Script(*[Fault.CUT_BEFORE] * 6)  # three completions, three looks at what became of them
        complete(self, *arguments)

    monkeypatch.setattr(s3_upload._Multipart, "_complete", cut_off)
    with pytest.raises(Undecided, match="cannot be reached or broke off"):
        harmed.put("a", large(), if_absent=True)
    assert raw_keys(seaweed, bucket) == [".claim-a"]
    assert [item["Key"] for item in uploads(seaweed, bucket)] == ["a"]
    assert harmed.sweep(datetime.now(UTC) + LATER) == 2
    assert uploads(seaweed, bucket) == []


@pytest.mark.parametrize("size", [7, PART + 1])
def test_a_server_that_ignores_the_condition_is_found_out_and_refused(settings: S3Settings, size: int) -> None:
    store = made(settings)

    def forget(params: dict[str, Any], **_: object) -> None:
        params["headers"].pop("If-None-Match", None)

    store._bucket.client.meta.events.register("before-call.s3", forget)
    with pytest.raises(StoreError, match="ignores If-None-Match"):
        store.put("a", large(size=size), if_absent=True)


# -- what goes wrong on the way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.ERROR_AFTER, Fault.TRUNCATE, Fault.CUT_HEAD])
def test_an_object_whose_answer_was_lost_is_known_as_our_own(harmed: S3Store, proxy: FaultProxy, fault: Fault) -> None:
    harmed.put("first", [b"proves that the server is conditional"], if_absent=True)
    proxy.schedule = Script(fault)
    harmed.put("second", [b"content"], if_absent=True)
    assert b"".join(harmed.get("second")) == b"content"
    with pytest.raises(ObjectExists):
        harmed.put("second", [b"other"], if_absent=True)


def test_a_stream_that_breaks_off_goes_on_where_it_broke(harmed: S3Store, proxy: FaultProxy) -> None:
    content = secrets.token_bytes(3 * MIB)
    harmed.put("a", [content])
    proxy.schedule = Script(Fault.TRUNCATE, Fault.TRUNCATE, Fault.ERROR_BEFORE, Fault.CUT_AFTER)
    assert b"".join(harmed.get("a")) == content
    assert proxy.schedule.struck.total() == 5


def test_a_stream_that_breaks_off_for_ever_is_an_error(harmed: S3Store, proxy: FaultProxy) -> None:
    harmed.put("a", [b"content"])
    proxy.schedule = Script(*[Fault.TRUNCATE] * 20)
    with pytest.raises(StoreUnavailable, match=r"broke off again and again at byte \d of 7"):
        list(harmed.get("a"))


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(harmed: S3Store, proxy: FaultProxy) -> None:
    harmed.put("a", [b"1" * 3 * MIB])
    proxy.schedule = Script(Fault.TRUNCATE)
    pieces = harmed.get("a")
    next(pieces)
    harmed.put("a", [b"2" * 3 * MIB])
    with pytest.raises(StoreError, match="was replaced while it was read"):
        list(pieces)


def test_an_answer_whose_head_is_cut_is_no_empty_bucket_and_no_deletion(harmed: S3Store, proxy: FaultProxy) -> None:
    """Python's HTTP client takes a head without its end as whole."""
    harmed.put("a", [b"content"])
    proxy.schedule = Script(Fault.CUT_HEAD, Fault.CUT_HEAD)
    assert [info.key for info in harmed.list("")] == ["a"]
    proxy.schedule = Script(Fault.CUT_HEAD)
    assert harmed.head("a").size == 7
    proxy.schedule = Script(Fault.CUT_HEAD)
    assert b"".join(harmed.get("a")) == b"content"
    proxy.schedule = Script(Fault.NONE, *[Fault.CUT_HEAD] * 5)
    with pytest.raises(StoreUnavailable, match="lacks its 'Deleted'"):
        harmed.delete(["a"])


def test_a_failed_part_ends_the_upload_with_its_error_and_leaves_no_parts(
    harmed: S3Store, proxy: FaultProxy, seaweed: Seaweed, bucket: str
) -> None:
    read: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number, chunk in enumerate(large(size=200 * MIB)):
            read.append(number)
            yield chunk

    proxy.schedule = Always(Fault.ERROR_BEFORE, "partNumber=")
    with pytest.raises(StoreUnavailable, match="UploadPart of a failed"):
        harmed.put("a", chunks())
    assert len(read) < 100, "it read on long after it had failed"
    assert proxy.schedule.struck[Fault.ERROR_BEFORE] >= 3
    assert uploads(seaweed, bucket) == []
    assert harmed.sweep(datetime.now(UTC) + LATER) == 0


def test_an_error_of_the_source_leaves_no_parts(store: S3Store, seaweed: Seaweed, bucket: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield from large(size=4 * PART)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        store.put("a", chunks())
    assert uploads(seaweed, bucket) == []
    assert list(store.list("")) == []


def test_a_sweep_takes_what_is_old_and_below_its_prefix(settings: S3Settings, seaweed: Seaweed, bucket: str) -> None:
    for key in ("ours/a", "theirs/a", "ours-too"):
        begun(seaweed, bucket, key)
    Claim(Bucket(settings, clock=SystemClock()), "ours/b", "dead")._acquire()
    store = S3Store(settings, clock=SystemClock(), swept_prefix="ours")
    assert store.sweep(datetime.now(UTC) - LATER) == 0
    assert store.sweep(datetime.now(UTC) + LATER) == 2
    assert sorted(item["Key"] for item in uploads(seaweed, bucket)) == ["ours-too", "theirs/a"]
    assert raw_keys(seaweed, bucket) == []


def test_a_claim_is_never_listed(settings: S3Settings, store: S3Store) -> None:
    Claim(Bucket(settings, clock=SystemClock()), "a/b", "dead")._acquire()
    assert list(store.list("")) == []


# -- errors that say what to do ----------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[S3Store], object]] = {
    "put": lambda store: store.put("a/key", [b"x"]),
    "put by parts": lambda store: store.put("a/key", large()),
    "put if absent": lambda store: store.put("a/key", [b"x"], if_absent=True),
    "get": lambda store: list(store.get("a/key")),
    "head": lambda store: store.head("a/key"),
    "list": lambda store: list(store.list("")),
    "delete": lambda store: store.delete(["a/key"]),
    "sweep": lambda store: store.sweep(datetime.now(UTC)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_missing_bucket_is_named_with_what_to_do(seaweed: Seaweed, call: Callable[[S3Store], object]) -> None:
    store = made(seaweed.settings("no-such-bucket", part_bytes=PART, attempts=1))
    with pytest.raises(StoreError, match=r"the bucket no-such-bucket at http.* does not exist; create it") as caught:
        call(store)
    assert not isinstance(caught.value, ObjectMissing)


@pytest.mark.parametrize("access", [Access("nobody", "hidden-secret"), Access("admin-key-id", "hidden-secret")])
@pytest.mark.parametrize("call", [CALLS["put"], CALLS["put by parts"], CALLS["get"], CALLS["list"]])
def test_wrong_credentials_are_said_to_be_wrong_and_not_shown(
    seaweed: Seaweed, bucket: str, access: Access, call: Callable[[S3Store], object]
) -> None:
    store = made(seaweed.settings(bucket, access=access, part_bytes=PART, attempts=1))
    with pytest.raises(StoreError, match="does not accept the credentials or their signature; check keys") as caught:
        call(store)
    shown = "".join(traceback.format_exception(caught.value)) + repr(store._bucket.settings)
    assert not any(secret in shown for secret in ("hidden-secret", "nobody", "admin-key-id"))


def test_what_a_policy_forbids_is_named_by_its_action(seaweed: Seaweed, store: S3Store, bucket: str) -> None:
    store.put("a/key", [b"x"])
    reading = made(seaweed.settings(bucket, access=READER, part_bytes=PART, attempts=1))
    assert b"".join(reading.get("a/key")) == b"x"
    with pytest.raises(StoreError, match=rf"may not s3:PutObject on the bucket {bucket} at \S+, at b/key; grant"):
        reading.put("b/key", [b"x"])
    with pytest.raises(StoreError, match="may not s3:PutObject"):
        reading.put("b/key", large())
    with pytest.raises(StoreError, match=r"may not s3:DeleteObject .* at a/key"):
        reading.delete(["a/key"])
    assert [info.key for info in store.list("")] == ["a/key"]


def test_a_server_that_is_not_there_is_unavailable(seaweed: Seaweed) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        store = made(seaweed.settings("any", endpoint_url=url, attempts=1, retry_seconds=0.01))
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            store.put("a", [b"x"])


def test_a_server_of_an_own_authority_is_trusted_by_its_file_and_else_not(
    settings: S3Settings, seaweed: Seaweed
) -> None:
    over_tls = settings.model_copy(update={"endpoint_url": seaweed.tls_url})
    with pytest.raises(StoreError, match=r"is not trusted; set store\.s3\.ca_bundle"):
        made(over_tls).put("a", [b"x"])
    trusting = made(over_tls.model_copy(update={"ca_bundle": seaweed.ca_bundle}))
    trusting.put("a", [b"x"], if_absent=True)
    trusting.put("b", large(), if_absent=True)
    assert b"".join(trusting.get("b")) == b"x" * (PART + 1)
    with pytest.raises(SettingsError, match=r"store\.s3\.ca_bundle=/none"):
        made(over_tls.model_copy(update={"ca_bundle": Path("/none")})).put("a", [b"x"])


def test_a_key_file_that_is_missing_is_named(seaweed: Seaweed) -> None:
    store = made(
        seaweed.settings("any").model_copy(
            update={"access_key_id_file": Path("/none/id"), "secret_access_key_file": Path("/none/secret")}
        )
    )
    with pytest.raises(SettingsError, match=r"store\.s3\.access_key_id_file=/none/id cannot be read"):
        list(store.list(""))


# -- encryption, locks, processes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [7, PART + 1])
def test_an_object_is_encrypted_by_the_server_where_the_settings_say_so(
    settings: S3Settings, seaweed: Seaweed, bucket: str, size: int
) -> None:
    store = made(settings.model_copy(update={"sse": "AES256"}))
    store.put("a", large(size=size), if_absent=True)
    assert seaweed.client().head_object(Bucket=bucket, Key="a")["ServerSideEncryption"] == "AES256"
    assert b"".join(store.get("a")) == b"x" * size


@pytest.mark.parametrize("size", [7, PART + 1])
def test_a_locked_object_outlives_its_deletion(settings: S3Settings, seaweed: Seaweed, size: int) -> None:
    bucket, client = f"locked-{secrets.token_hex(6)}", seaweed.client()
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    store = made(settings.model_copy(update={"bucket": bucket, "lock_mode": "GOVERNANCE", "lock_days": 3}))
    store.put("a", large(size=size), if_absent=True)
    until = client.head_object(Bucket=bucket, Key="a")["ObjectLockRetainUntilDate"]
    assert abs(until - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=5)
    assert store.delete(["a"]) == 1
    with pytest.raises(ObjectMissing):
        store.head("a")
    version = next(item for item in client.list_object_versions(Bucket=bucket)["Versions"] if item["Key"] == "a")
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a", "VersionId": version["VersionId"]}]})
    assert answer["Errors"][0]["Code"] == "AccessDenied"


def test_a_forked_child_makes_connections_of_its_own(store: S3Store) -> None:
    store.put("parents", [b"x"])
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_work, args=(store, number)) for number in range(4)]
    for child in children:
        child.start()
    _work(store, 4)
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert len(list(store.list("child/"))) == 100


def _work(store: S3Store, number: int) -> None:
    for index in range(20):
        content = f"{number}-{index}".encode() * 1000
        store.put(f"child/{number}/{index}", [content])
        assert b"".join(store.get(f"child/{number}/{index}")) == content
