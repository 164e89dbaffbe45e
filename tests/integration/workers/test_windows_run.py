"""Windows as the fleets keep to them: refused outside, let in inside, held until one opens; people told once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from running_fleet import Fleet, Worker, stack_fleet, wait_until

from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.errors import OutsideWindow
from g3zkp_maint.operations import windows as operations
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.rotation.entries import KEY_TYPES
from g3zkp_maint.testing.open_window import opened
from g3zkp_maint.testing.running_stack import running_stack
from g3zkp_maint.testing.webhook import Webhook, running_webhook
from g3zkp_maint.windows import words
from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.proposal import Proposal
from g3zkp_maint.windows.window import Window

pytestmark = pytest.mark.integration

ROTATE, RESTORE, NOTICES = "crypto.rotate_keys", "crypto.restore", "observe.window_notices"
QUEUES = "backup,crypto,observe"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with running_webhook() as found:
        yield found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("windows")
    with running_stack(folder / "state", "--no-fleets", "--no-flower") as stack:
        fleet = stack_fleet(folder, stack)
        fleet.settings |= {
            "G3ZKP_NOTICES__URLS": json.dumps([webhook.url().get_secret_value()]),
            "G3ZKP_HEALTH__TRIES": "1",
        }
        fleet.fill(60)
        yield fleet
        fleet.close()
    shutil.rmtree(folder / "state")


@pytest.fixture
def worker(fleet: Fleet) -> Worker:
    """The one there is; a new one where a test has killed it."""
    is_there = bool(fleet.workers) and fleet.workers[-1].process.poll() is None
    return fleet.workers[-1] if is_there else fleet.worker(QUEUES, concurrency=2)


def leaves(fleet: Fleet, task: str, slot: str) -> list[dict[str, Any]]:
    """What the journal tells of each time that the run asked."""
    asked = fleet.events(task=task, slot=slot, step=words.STEP)
    return [dict(one.detail) for one in asked if one.event in {"finished", "failed"}]


@contextmanager
def beginning(fleet: Fleet, start: datetime, minutes: int = 60) -> Iterator[Window]:
    """A window that begins at that second, which no operator can plan."""
    minute = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    wish = Proposal(Kind.MAJOR, minute, minute + timedelta(minutes=minutes), "a test", emergency=True, reason="a test")
    window = operations.open_window(fleet.services, wish)
    moved = window.replaced(start, start=start)
    fleet.services.windows.change(lambda _: (moved,))
    yield moved
    operations.close_window(fleet.services, moved.id, why="the test is over", by="a test")


def test_a_rotation_is_refused_outside_of_a_window_and_done_inside(fleet: Fleet, worker: Worker) -> None:
    with pytest.raises(
        OutsideWindow, match=r"no window is open for rotating identity, .* keys; no window that is planned"
    ):
        fleet.send(ROTATE, slot="2026-11-29T03:00Z").get(timeout=60)
    assert fleet.services.platform.read_secret("g3zkp-keys").data == {}
    record = fleet.record(ROTATE, "2026-11-29T03:00Z")
    assert record is not None
    assert record.state is RunState.FAILED
    (refused,) = leaves(fleet, ROTATE, "2026-11-29T03:00Z")
    assert (refused["leave"], refused["cause"]) == ("refused", "none-open")
    with (
        opened(fleet.services, minutes=5),
        pytest.raises(OutsideWindow, match=r"may take 18 min \(all its time limits.*ends in"),
    ):
        fleet.send(ROTATE, slot="short").get(timeout=60)
    assert leaves(fleet, ROTATE, "short")[0]["cause"] == "too-short"
    with opened(fleet.services) as window:
        done = fleet.send(ROTATE, slot="2026-12-06T03:00Z").get(timeout=60)
    assert [one["type"] for one in done["rotated"]] == list(KEY_TYPES)
    (given,) = leaves(fleet, ROTATE, "2026-12-06T03:00Z")
    assert (given["leave"], given["window"], given["expected_seconds"]) == ("window", window.id, 1050)


def test_a_rotation_that_comes_early_waits_for_its_window(fleet: Fleet, worker: Worker) -> None:
    with beginning(fleet, fleet.services.clock.now() + timedelta(seconds=8)) as window:
        done = fleet.send(ROTATE, ["signing"], force=True, slot="early").get(timeout=60)
        assert fleet.services.clock.now() >= window.start
    assert [one["type"] for one in done["rotated"]] == ["signing"]
    held, given = leaves(fleet, ROTATE, "early")
    assert (held["leave"], held["cause"], held["next"]) == ("held", "soon", window.id)
    assert given["leave"] == "window"
    # By now the journal knows how long it takes, and the next one is measured by that.
    assert given["basis"] == "the longest of 1 past runs"
    assert given["expected_seconds"] < 60


def test_a_restore_in_a_window_needs_no_force_and_goes_on_after_it(fleet: Fleet, worker: Worker) -> None:
    name = fleet.send("backup.run", "full").get(timeout=60)["name"]
    token = fleet.send("crypto.plan_restore", name).get(timeout=30)["token"]
    shutil.rmtree(fleet.data / "ipfs")
    with pytest.raises(OutsideWindow, match=f"restoring {name}"):
        fleet.send(RESTORE, name, confirm=token, slot="outside").get(timeout=30)
    with opened(fleet.services):
        result = fleet.send(RESTORE, name, confirm=token, safety=False, slot="inside")
        wait_until(
            lambda: fleet.events(task=RESTORE, slot="inside", step="stop", event="finished"), "it stops the messenger"
        )
        worker.kill()
    # The window is closed and the messenger is down: it must not wait for the next one.
    fleet.worker(QUEUES, concurrency=2)
    assert fleet.reaped(result)["backup"] == name
    assert [one["leave"] for one in leaves(fleet, RESTORE, "inside")] == ["window"]
    assert len(list((fleet.data / "ipfs").rglob("*-0"))) == 60


def test_people_are_told_once_whoever_looks_and_however_often_it_dies(
    fleet: Fleet, worker: Worker, webhook: Webhook
) -> None:
    start = fleet.services.clock.now().replace(second=0, microsecond=0) + timedelta(hours=5)
    wish = Proposal(Kind.SECURITY, start, start + timedelta(minutes=20), "op", emergency=True, reason="leak")
    window = operations.open_window(fleet.services, wish)
    webhook.posted.clear()
    both = [fleet.send(NOTICES, slot=f"look-{number}") for number in range(2)]
    assert all(window.id not in one.get(timeout=60)["open"] for one in both)
    worker.kill()
    fleet.worker(QUEUES, concurrency=2)
    fleet.send(NOTICES, slot="look-1").get(timeout=60)
    fleet.send(NOTICES, slot="look-2").get(timeout=60)
    assert [one.partition(":")[0] for one in webhook.titles()] == ["Emergency maintenance"]
    operations.close_window(fleet.services, window.id, why="not needed", by="op")
    for number in (3, 4):
        fleet.send(NOTICES, slot=f"look-{number}").get(timeout=60)
    assert [one.partition(":")[0] for one in webhook.titles()][1:] == ["Emergency maintenance does not take place"]


def test_health_is_no_news_in_a_window_and_news_after_it(fleet: Fleet, worker: Worker, webhook: Webhook) -> None:
    platform = fleet.services.platform
    assert fleet.send("observe.health", slot="well").get(timeout=60)["state"] == "healthy"
    webhook.posted.clear()
    with opened(fleet.services):
        platform.scale(MESSENGER, 0)
        platform.wait_scaled(MESSENGER, 30)
        assert fleet.send("observe.health", slot="in-it").get(timeout=60)["state"] == "down"
        assert webhook.posted == []
    assert fleet.send("observe.health", slot="after-it").get(timeout=60)["state"] == "down"
    assert webhook.titles() == ["The messenger is down"]
    platform.scale(MESSENGER, 1)
    platform.wait_scaled(MESSENGER, 30)
