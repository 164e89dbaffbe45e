"""`g3zkp-maint up` with real processes, and what is left when parts of it are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from g3zkp_maint.errors import PlatformUnavailable
from g3zkp_maint.health.check import check
from g3zkp_maint.platforms.base import MESSENGER, REDIS
from g3zkp_maint.platforms.local import LocalPlatform
from g3zkp_maint.platforms.local_files import write_document
from g3zkp_maint.platforms.process import identify
from g3zkp_maint.stack import inquiry
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.leftovers import leftovers
from g3zkp_maint.stack.ports import load
from g3zkp_maint.stack.probe import RedisProbe
from g3zkp_maint.testing.running_stack import RunningStack, running_stack, start, wait_for

pytestmark = pytest.mark.integration

LIGHT = ("--no-fleets", "--no-flower")
DEADLINE = 20.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack") / "state", *LIGHT) as stack:
        yield stack


def guardian_of(stack: RunningStack) -> int:
    children = Path(f"/proc/{stack.process.pid}/task/{stack.process.pid}/children").read_text().split()
    guardians = (int(pid) for pid in children if b"stack.guardian" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return next(guardians, 0)


@pytest.mark.parametrize("name", [MESSENGER, REDIS, "coordination"])
def test_a_part_that_is_killed_is_started_again_and_said(shared: RunningStack, name: str) -> None:
    before = shared.pid(name)
    os.kill(before, signal.SIGKILL)
    wait_for(
        lambda: shared.pid(name) not in (0, before) and shared.is_ready(name),
        DEADLINE,
        lambda: f"{name} did not come back",
    )
    assert f"{name} ended by itself (signal 9)" in shared.said()


def test_a_guardian_that_is_killed_is_replaced(shared: RunningStack) -> None:
    before = guardian_of(shared)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: identify(before).started == "", DEADLINE, lambda: "it was not reaped")
    wait_for(lambda: guardian_of(shared) not in (0, before), DEADLINE, lambda: "no new guardian")


def test_a_second_up_on_the_same_folder_is_refused(shared: RunningStack, tmp_path: Path) -> None:
    second = start(shared.layout, *LIGHT, output=tmp_path / "second.log")
    assert second.wait(DEADLINE) == 1
    assert f"already runs on {shared.layout.root} (pid {shared.process.pid})" in (tmp_path / "second.log").read_text()
    assert check(inquiry.addresses(shared.layout)["messenger"]).is_healthy


def test_the_redis_servers_want_their_password(shared: RunningStack) -> None:
    ports = load(shared.layout.ports)
    assert ports is not None
    assert not RedisProbe(ports.redis, "wrong").is_ready()
    assert not RedisProbe(ports.coordination, "wrong").is_ready()


def test_no_password_and_no_key_is_in_a_process_listing(shared: RunningStack) -> None:
    secrets = [(shared.layout.root / part / "password").read_text() for part in ("redis", "coordination")]
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [secret for secret in secrets if secret in listing]


def test_what_lies_in_the_state_folder_is_for_its_owner_only(shared: RunningStack) -> None:
    assert shared.layout.root.stat().st_mode & 0o077 == 0
    private = [*shared.layout.all_keys.rglob("*.*"), shared.layout.env_file, *shared.layout.secrets.glob("*.json")]
    private += [*shared.layout.root.rglob("password"), *shared.layout.root.rglob("valkey.conf")]
    assert len(private) > 12
    assert [path for path in private if path.stat().st_mode & 0o077] == []


def test_a_stop_leaves_no_process_and_the_next_start_keeps_addresses_and_keys(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running_stack(state, *LIGHT) as first:
        addresses = inquiry.addresses(first.layout)
        keys = (first.layout.keys("crypto") / "recovery.identity").read_bytes()
        assert first.stop() == 0
        assert leftovers(first.layout.root) == []
        with pytest.raises(PlatformUnavailable, match="g3zkp-maint up"):
            LocalPlatform(state).workloads()
    with running_stack(state, *LIGHT) as second:
        assert inquiry.addresses(second.layout) == addresses
        assert (second.layout.keys("crypto") / "recovery.identity").read_bytes() == keys
        assert inquiry.down(second.layout)
        assert second.process.wait(DEADLINE) == 0
        assert leftovers(second.layout.root) == []


def test_a_second_signal_does_not_wait_for_what_does_not_stop(tmp_path: Path) -> None:
    with running_stack(tmp_path / 'a "state" folder', *LIGHT) as stack:
        stack.process.send_signal(signal.SIGSTOP)
        os.kill(stack.pid(MESSENGER), signal.SIGSTOP)
        stack.process.send_signal(signal.SIGCONT)
        stack.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            stack.process.wait(1)
        stack.process.send_signal(signal.SIGINT)
        assert stack.process.wait(5) == 0
        assert leftovers(stack.layout.root) == []


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = start(Layout.at(tmp_path / "file" / "state"), *LIGHT, output=tmp_path / "log")
    assert process.wait(DEADLINE) == 2
    assert "--state-dir" in (tmp_path / "log").read_text()


def test_down_makes_nothing_of_a_folder_that_holds_no_stack(tmp_path: Path) -> None:
    assert not inquiry.down(Layout.at(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_when_up_is_killed_nothing_of_it_lives_on(tmp_path: Path) -> None:
    with running_stack(tmp_path / "state", *LIGHT) as stack:
        assert len(leftovers(stack.layout.root)) == 3
        stack.process.kill()
        stack.process.wait()
        wait_for(lambda: leftovers(stack.layout.root) == [], DEADLINE, lambda: "processes were left")


def test_when_the_guardian_is_killed_too_the_next_start_stops_what_is_left(tmp_path: Path) -> None:
    with running_stack(tmp_path / "state", *LIGHT) as stack:
        # Stopped first, so that it cannot see the guardian's end and start another.
        stack.process.send_signal(signal.SIGSTOP)
        os.kill(guardian_of(stack), signal.SIGKILL)
        stack.process.kill()
        stack.process.wait()
        left = {one.pid for one in leftovers(stack.layout.root)}
        assert len(left) == 3
        with running_stack(tmp_path / "state", *LIGHT) as second:
            assert "stopped 3 processes that an earlier start had left behind" in second.said()
            assert left.isdisjoint(one.pid for one in leftovers(second.layout.root))


def test_a_supervisor_that_hangs_is_not_believed(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.make_folders()
    me = identify(os.getpid())
    write_document(layout.supervisor, {"pid": me.pid, "started": me.started, "run": "", "monotonic": -100.0})
    with pytest.raises(PlatformUnavailable, match="hangs"):
        LocalPlatform(tmp_path).workloads()


def test_a_port_that_is_asked_for_and_taken_is_an_error(shared: RunningStack, tmp_path: Path) -> None:
    ports = load(shared.layout.ports)
    assert ports is not None
    process = start(
        Layout.at(tmp_path / "state"), *LIGHT, "--messenger-port", str(ports.messenger), output=tmp_path / "log"
    )
    assert process.wait(DEADLINE) == 1
    assert f"port {ports.messenger} for messenger is in use" in (tmp_path / "log").read_text()


APP = """
import os
from celery import Celery

app = Celery("fleets", broker=os.environ["G3ZKP_REDIS__URL"], backend=os.environ["G3ZKP_REDIS__URL"])


@app.task(name="tell")
def tell():
    return {name: value for name, value in os.environ.items() if name.startswith("G3ZKP_")}
"""

ASK = """
import json, sys
from fleets import app

queues = ("backup", "crypto", "cleanup", "observe")
sent = {queue: app.send_task("tell", queue=queue) for queue in queues}
print(json.dumps({queue: result.get(timeout=30) for queue, result in sent.items()}))
"""


def test_each_fleet_works_its_queue_and_has_the_keys_that_it_may_have_and_flower_only_shows(tmp_path: Path) -> None:
    (tmp_path / "fleets.py").write_text(APP)
    with running_stack(tmp_path / "state", "--app", "fleets", environment={"PYTHONPATH": str(tmp_path)}) as stack:
        command = f'. {stack.layout.env_file} && exec "$@"'
        asked = subprocess.run(
            ["sh", "-c", command, "sh", sys.executable, "-c", ASK],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            check=True,
        )
        told = json.loads(asked.stdout)
        keys = {fleet: _key_names(environment) for fleet, environment in told.items()}
        writes = {"RECIPIENTS", "TRUSTED_SIGNERS", "SIGNING_KEY", "MANIFEST_IDENTITY"}
        assert keys == {
            "backup": writes,
            "crypto": {*writes, "RECOVERY_IDENTITY"},
            "cleanup": {"TRUSTED_SIGNERS"},
            "observe": {"TRUSTED_SIGNERS"},
        }
        report = check(inquiry.addresses(stack.layout)["flower"], tries=1)
        assert {one.path: one.status for one in report.endpoints}["/metrics"] == 200
        assert _post_status(f"{inquiry.addresses(stack.layout)['flower']}/api/worker/shutdown/backup@host") == 401
        assert stack.stop() == 0
        assert leftovers(stack.layout.root) == []


def _key_names(environment: dict[str, str]) -> set[str]:
    return {name.removeprefix("G3ZKP_KEYS__") for name in environment if name.startswith("G3ZKP_KEYS__")}


def _post_status(url: str) -> int:
    return httpx.post(url, trust_env=False).status_code
