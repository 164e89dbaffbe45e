"""What every Platform does, whatever the messenger runs on. Commands are `node -e`: there is node in every messenger."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from g3zkp_maint.errors import (
    BadInput,
    Conflict,
    DeadlineExceeded,
    ExecFailed,
    ObjectRefused,
    PlatformUnavailable,
    StreamBroken,
    UnknownWorkload,
)
from g3zkp_maint.health.check import check
from g3zkp_maint.platforms.base import MESSENGER, REDIS, Platform

pytestmark = pytest.mark.integration

MIB = 1 << 20
DEADLINE = 120.0
KEYS = "g3zkp-keys"
ECHO = "process.stdin.pipe(process.stdout)"


def node(script: str, *args: str) -> list[str]:
    return ["node", "-e", script, "--", *args]


def blocks(count: int) -> Iterator[bytes]:
    cipher = Cipher(algorithms.AES(bytes(32)), modes.CTR(bytes(16))).encryptor()
    return (cipher.update(bytes(MIB)) for _ in range(count))


def digest_of(chunks: Iterator[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


# -- exec --------------------------------------------------------------------------------------------------------------


def test_exec_hands_over_64_mb_of_binary_output_byte_for_byte(platform: Platform) -> None:
    script = """
        const cipher = require('crypto').createCipheriv('aes-256-ctr', Buffer.alloc(32), Buffer.alloc(16));
        const zeros = Buffer.alloc(1 << 20);
        let left = 64;
        (function next() {
          while (left > 0) { left -= 1; if (!process.stdout.write(cipher.update(zeros))) break; }
          if (left > 0) process.stdout.once('drain', next);
        })();
    """
    assert digest_of(iter(platform.exec(MESSENGER, node(script)))) == digest_of(blocks(64))


def test_exec_hands_over_output_in_pieces_of_bounded_size(platform: Platform) -> None:
    sizes = [len(piece) for piece in platform.exec(MESSENGER, node("process.stdout.write(Buffer.alloc(8 << 20))"))]
    assert sum(sizes) == 8 * MIB
    assert max(sizes) <= MIB


def test_exec_feeds_input_and_reads_output_of_any_size_without_deadlock(platform: Platform) -> None:
    noisy = ECHO + "; process.stdin.on('data', (d) => process.stderr.write('x'.repeat(d.length >> 4)))"
    assert digest_of(iter(platform.exec(MESSENGER, node(noisy), stdin=blocks(64)))) == digest_of(blocks(64))


NOT_READING = "process.stdin.destroy(); console.log('done')"


def test_exec_ends_when_the_command_does_not_read_its_input(platform: Platform) -> None:
    stream = platform.exec(MESSENGER, node(NOT_READING), stdin=blocks(64), may_leave_input=True)
    assert stream.read_all() == b"done\n"


@pytest.mark.parametrize("size", [1, 64 * MIB], ids=["a byte", "64 MB"])
def test_exec_is_no_success_where_input_is_left_that_must_be_read(platform: Platform, size: int) -> None:
    with pytest.raises(ExecFailed, match="did not read all of its input") as caught:
        platform.exec(MESSENGER, node(NOT_READING), stdin=[bytes(size)]).read_all()
    assert caught.value.exit_code == 0


def test_exec_fails_by_the_commands_own_code_where_input_is_left(platform: Platform) -> None:
    with pytest.raises(ExecFailed, match="exit code 5"):
        platform.exec(MESSENGER, node("process.exit(5)"), stdin=blocks(8)).read_all()


def test_exec_raises_what_the_input_raised_and_never_passes_a_part_for_the_whole(platform: Platform) -> None:
    def broken() -> Iterator[bytes]:
        yield b"first half"
        raise OSError("the store is gone")

    with pytest.raises(OSError, match="the store is gone"):
        platform.exec(MESSENGER, node(ECHO), stdin=broken()).read_all()


def test_exec_raises_the_exit_code_with_the_tail_of_stderr(platform: Platform) -> None:
    script = "process.stderr.write('x'.repeat(200 << 10) + ' and the reason', () => process.exit(3))"
    with pytest.raises(ExecFailed, match="exit code 3") as caught:
        platform.exec(MESSENGER, node(script)).read_all()
    assert caught.value.exit_code == 3
    assert caught.value.stderr_tail.endswith("and the reason")
    assert len(caught.value.stderr_tail) <= 64 << 10


def test_exec_keeps_bytes_that_are_not_utf_8(platform: Platform) -> None:
    every_byte = bytes(range(256))
    script = "process.stdout.write(Buffer.from([...Array(256).keys()]))"
    assert platform.exec(MESSENGER, node(script)).read_all() == every_byte


def test_exec_reports_stderr_that_is_not_utf_8(platform: Platform) -> None:
    script = "process.stderr.write(Buffer.from([0xff, 0x21]), () => process.exit(1))"
    with pytest.raises(ExecFailed) as caught:
        platform.exec(MESSENGER, node(script)).read_all()
    assert caught.value.stderr_tail == "\ufffd!"


def test_exec_of_a_command_that_is_killed_is_a_broken_stream(platform: Platform) -> None:
    script = "process.stdout.write('half', () => process.kill(process.pid, 'SIGKILL'))"
    seen = []
    with pytest.raises(StreamBroken, match="not whole"):
        seen.extend(platform.exec(MESSENGER, node(script)))
    assert b"".join(seen) == b"half"


def test_exec_of_a_missing_program_fails(platform: Platform) -> None:
    with pytest.raises(ExecFailed, match="no-such-program"):
        platform.exec(MESSENGER, ["no-such-program"]).read_all()


def test_exec_refuses_more_output_than_was_expected(platform: Platform) -> None:
    with pytest.raises(BadInput, match="1000 bytes"):
        platform.exec(MESSENGER, node("process.stdout.write('x'.repeat(2000))")).read_all(limit=1000)


def test_exec_that_is_closed_ends_at_once(platform: Platform) -> None:
    stream = platform.exec(MESSENGER, node("process.stdout.write('x'); setInterval(() => {}, 1000)"))
    pieces = iter(stream)
    assert next(pieces) == b"x"
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 5


def test_exec_that_is_closed_shows_its_command_no_end_of_an_input_that_has_more(platform: Platform) -> None:
    """Not even to one that does something yet when it is told to end."""
    seen = "require('path').join(process.env.G3ZKP_DATA, 'an-end-was-seen')"
    heeds_no_term = "process.on('SIGTERM', () => {}); process.stdout.write('runs'); "
    script = f"{heeds_no_term}process.stdin.on('end', () => fs.writeFileSync({seen}, '')).resume()"
    is_closed = threading.Event()

    def parts() -> Iterator[bytes]:
        while not is_closed.wait(0.05):
            yield b"a part"
            yield b""

    stream = platform.exec(MESSENGER, node(script), stdin=parts())
    assert next(iter(stream)) == b"runs"
    stream.close()
    is_closed.set()
    assert platform.exec(MESSENGER, node(f"console.log(fs.existsSync({seen}))")).read_all() == b"false\n"


def test_exec_finds_the_messengers_modules_and_data(platform: Platform) -> None:
    script = "require('@g3zkp/crypto'); require('@g3zkp/storage'); console.log(Boolean(process.env.G3ZKP_DATA))"
    assert platform.exec(MESSENGER, node(script)).read_all() == b"true\n"


def test_exec_hands_arguments_over_as_they_are(platform: Platform) -> None:
    odd = ["a b", "'\"$(id)`", "", "naïve", "new\nline"]
    script = "process.stdout.write(JSON.stringify(process.argv.slice(1)))"
    stdout = platform.exec(MESSENGER, node(script, *odd)).read_all()
    assert stdout.decode() == '["a b","\'\\"$(id)`","","naïve","new\\nline"]'


def test_exec_masks_credentials_in_what_a_failed_command_said(platform: Platform) -> None:
    script = "console.error('redis://:hunter2@127.0.0.1/0'); process.exit(1)"
    with pytest.raises(ExecFailed) as caught:
        platform.exec(MESSENGER, node(script)).read_all()
    assert "hunter2" not in str(caught.value) + caught.value.stderr_tail


def test_exec_in_an_unknown_workload_is_refused(platform: Platform) -> None:
    with pytest.raises(UnknownWorkload, match="nobody"):
        platform.exec("nobody", node("1"))


def test_a_command_runs_in_each_instance_that_is_named(platform: Platform) -> None:
    names = [one.name for one in platform.instances(MESSENGER) if one.ready]
    assert len(set(names)) == len(names) >= 1
    for name in names:
        assert platform.exec(MESSENGER, node("process.stdout.write('here')"), instance=name).read_all() == b"here"


def test_a_command_for_an_instance_that_is_not_there_is_refused(platform: Platform) -> None:
    with pytest.raises(PlatformUnavailable, match="no-such-instance"):
        platform.exec(MESSENGER, node(""), instance="no-such-instance").read_all()


# -- workloads ---------------------------------------------------------------------------------------------------------


def test_the_messenger_and_its_redis_are_listed_and_ready_and_no_other(platform: Platform) -> None:
    shown = {one.name: one for one in platform.workloads()}
    assert {name: one.kind for name, one in shown.items()} == {MESSENGER: "Deployment", REDIS: "StatefulSet"}
    assert all(one.ready == one.desired >= 1 for one in shown.values())


def desired(platform: Platform) -> int:
    return next(one.desired for one in platform.workloads() if one.name == MESSENGER)


def test_scaled_to_zero_it_is_gone_and_a_helper_still_has_its_data_and_scaled_back_it_answers(
    platform: Platform,
) -> None:
    before = desired(platform)
    platform.scale(MESSENGER, 0)
    platform.wait_scaled(MESSENGER, DEADLINE)
    assert platform.instances(MESSENGER) == []
    assert not check(platform.health_url(), timeout_seconds=1, tries=1).is_healthy
    with pytest.raises(PlatformUnavailable, match="no ready instance"):
        platform.exec(MESSENGER, node("1"))
    with platform.helper_pod("restore-helper") as helper:
        script = "console.log(require('fs').statSync(process.env.G3ZKP_DATA).isDirectory())"
        assert platform.exec(helper, node(script)).read_all() == b"true\n"
    platform.scale(MESSENGER, before)
    platform.wait_scaled(MESSENGER, DEADLINE)
    report = check(platform.health_url())
    assert report.problems == ()


def test_a_helper_is_removed_also_after_an_error(platform: Platform) -> None:
    with pytest.raises(ZeroDivisionError), platform.helper_pod("short-lived"):
        raise ZeroDivisionError
    with pytest.raises(UnknownWorkload):
        platform.exec("short-lived", node("1"))


def test_a_helper_of_a_name_that_is_taken_is_refused_and_no_living_owner_is_swept(platform: Platform) -> None:
    former = ExitStack()
    with former:
        helper = former.enter_context(platform.helper_pod("one-of-a-name"))
        with pytest.raises(Conflict, match="one-of-a-name"), platform.helper_pod("one-of-a-name"):
            pass
        assert platform.sweep_helpers(forsaken=["another"]) == 0
        assert platform.exec(helper, node("console.log(1)")).read_all() == b"1\n"
        # Who has a restore's leases knows better: its owner may live where nobody can see it.
        assert platform.sweep_helpers(forsaken=["one-of-a-name"]) == 1
        with platform.helper_pod("one-of-a-name") as later:
            former.close()
            assert platform.exec(later, node("console.log(2)")).read_all() == b"2\n"


def test_waiting_has_a_deadline(platform: Platform) -> None:
    before = desired(platform)
    platform.scale(MESSENGER, 0)
    try:
        with pytest.raises(DeadlineExceeded, match=MESSENGER):
            platform.wait_scaled(MESSENGER, 0.01)
    finally:
        platform.scale(MESSENGER, before)
        platform.wait_scaled(MESSENGER, DEADLINE)


def test_a_restart_is_waited_for_and_can_be_undone_once(platform: Platform) -> None:
    rollout = platform.restart([MESSENGER])
    platform.wait(rollout, DEADLINE)
    assert rollout.revision[MESSENGER] != rollout.previous[MESSENGER]
    back = platform.undo(rollout)
    platform.wait(back, DEADLINE)
    assert check(platform.health_url()).is_healthy
    with pytest.raises(Conflict):
        platform.undo(rollout)


# -- objects -----------------------------------------------------------------------------------------------------------


def test_a_secret_is_patched_value_by_value(platform: Platform) -> None:
    before = platform.read_secret(KEYS)
    value = os.urandom(64)
    set_both = platform.patch_secret(
        KEYS,
        resource_version=before.resource_version,
        data={"first-key": value, "second-key": b"2"},
        annotations={"last-rotation-first": "1"},
    )
    removed = platform.patch_secret(
        KEYS, resource_version=set_both.resource_version, data={"second-key": None}, annotations={}
    )
    assert removed == platform.read_secret(KEYS)
    assert removed.data["first-key"] == value
    assert "second-key" not in removed.data
    assert removed.annotations["last-rotation-first"] == "1"


def test_a_patch_of_an_old_version_is_refused_and_changes_nothing(platform: Platform) -> None:
    old = platform.read_secret(KEYS)
    new = platform.patch_secret(KEYS, resource_version=old.resource_version, data={"k": b"1"}, annotations={})
    with pytest.raises(Conflict, match=KEYS):
        platform.patch_secret(KEYS, resource_version=old.resource_version, data={"k": b"2"}, annotations={})
    assert platform.read_secret(KEYS) == new


def test_patches_at_the_same_time_lose_nothing(platform: Platform) -> None:
    def add(name: str) -> None:
        while True:
            version = platform.read_secret(KEYS).resource_version
            try:
                platform.patch_secret(KEYS, resource_version=version, data={name: b"x"}, annotations={})
            except Conflict:
                continue
            return

    names = [f"parallel-{number}" for number in range(8)]
    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert set(names) <= set(platform.read_secret(KEYS).data)


def test_an_unknown_secret_is_an_error(platform: Platform) -> None:
    with pytest.raises(UnknownWorkload, match="no-such-secret"):
        platform.read_secret("no-such-secret")


def test_objects_hold_the_workloads_and_the_secrets(platform: Platform) -> None:
    found = {(one["apiVersion"], one["kind"], one["metadata"]["name"]): one for one in platform.objects()}
    assert {("apps/v1", "Deployment", MESSENGER), ("apps/v1", "StatefulSet", REDIS), ("v1", "Secret", KEYS)} <= set(
        found
    )
    assert found["apps/v1", "Deployment", MESSENGER]["spec"]["replicas"] >= 1
    assert all(one["metadata"]["namespace"] for one in found.values())


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_an_object_is_applied_and_to_apply_it_twice_is_to_apply_it_once(platform: Platform, kind: str) -> None:
    name = f"applied-{kind.lower()}"
    metadata = {"name": name, "namespace": "of-another-cluster", "labels": {"app": "x"}}
    document = {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"a": "MQ=="}}
    assert platform.apply(document, dry_run=True)["data"] == {"a": "MQ=="}
    assert name not in {one["metadata"]["name"] for one in platform.objects()}
    made = platform.apply(document)
    assert platform.apply(document) == made
    platform.apply({**document, "data": {"a": "Mg=="}})
    (found,) = [one for one in platform.objects() if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    assert found["data"] == {"a": "Mg=="}
    assert found["metadata"]["labels"] == {"app": "x"}
    assert found["metadata"]["namespace"] != "of-another-cluster"


def test_an_object_that_cannot_be_applied_is_refused_by_name(platform: Platform) -> None:
    document = {"apiVersion": "v1", "kind": "Teapot", "metadata": {"name": "short"}, "spec": {}}
    with pytest.raises(ObjectRefused, match="Teapot/short"):
        platform.apply(document)
