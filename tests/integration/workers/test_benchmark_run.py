"""The benchmark as the observe fleet does it: a real messenger under a real load, its volume, and a real webhook."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from running_fleet import Fleet, stack_fleet

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.operations import performance
from g3zkp_maint.performance import history
from g3zkp_maint.performance.figure import Figure, Measurement
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.testing.open_window import opened
from g3zkp_maint.testing.running_stack import running_stack
from g3zkp_maint.testing.webhook import Webhook, running_webhook

pytestmark = pytest.mark.integration

TASK = "observe.benchmark"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with running_webhook() as found:
        yield found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("benchmark")
    with running_stack(folder / "state", "--no-fleets", "--no-flower") as stack:
        fleet = stack_fleet(folder, stack)
        fleet.settings["G3ZKP_NOTICES__URLS"] = json.dumps([webhook.url("token").get_secret_value()])
        fleet.settings["G3ZKP_PERFORMANCE__REQUESTS"] = "60"
        fleet.settings["G3ZKP_PERFORMANCE__VOLUME_MIB"] = "4"
        fleet.worker("observe", concurrency=1)
        yield fleet
        fleet.close()
    shutil.rmtree(folder / "state")


def run(fleet: Fleet, slot: str) -> dict[str, Any]:
    found: dict[str, Any] = fleet.send(TASK, slot=slot).get(timeout=90)
    return found


def _checkpoint(fleet: Fleet) -> Any:
    return performance._checkpoint(fleet.services)


def test_it_measures_and_leaves_nothing_on_the_volume(fleet: Fleet) -> None:
    found = run(fleet, "first")
    assert found["measured"]
    names = {"health.p50", "health.p95", "health.p99", "health.rate", "ready.p95", "redis.p50", "volume.write"}
    assert names <= set(found["figures"])
    assert all(one["value"] > 0 for one in found["figures"].values())
    assert set(found["lacks"]) <= {"proof", "volume.read", "backup.rate"}
    assert list(fleet.data.glob(".g3zkp-benchmark-*")) == []
    (kept,) = history.recall(_checkpoint(fleet))
    assert kept.as_dict()["figures"] == found["figures"]


def test_where_instances_cannot_be_reached_the_messengers_own_address_is_measured(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = fleet.services.settings
    brief = chosen.performance.model_copy(update={"requests": 20, "volume_mib": 0})
    for asks in (True, False):
        health = chosen.health.model_copy(update={"ask_instances": asks})
        services = Services(chosen.model_copy(update={"performance": brief, "health": health}))
        nowhere = [replace(one, address="127.0.0.1:9") for one in services.platform.instances(MESSENGER)]
        monkeypatch.setattr(services.platform, "instances", lambda _, nowhere=nowhere: nowhere)
        figures = {one.name for one in performance.take(services).figures}
        assert ({"health.p95", "ready.p95"} <= figures) is not asks
    assert performance.obstacle(services) == ""


def test_what_has_become_worse_is_told_once(fleet: Fleet, webhook: Webhook) -> None:
    found = Measurement.of(run(fleet, "second"))
    for week in range(1, 6):
        # Weeks in which everything was a thousand times better.
        better = tuple(
            Figure(one.name, one.value * (1000 if one.unit.more_is_better else 0.001), one.unit)
            for one in found.figures
        )
        history.keep(_checkpoint(fleet), f"week-{week}", Measurement(found.at - timedelta(weeks=week), better))
    worse = run(fleet, "third")["worse"]
    assert {"health.p95", "redis.p50"} <= {one["object"] for one in worse}
    run(fleet, "third")
    assert [title.partition(":")[0] for title in webhook.titles()] == ["The benchmark is worse than before"]


def test_in_a_window_no_load_is_made(fleet: Fleet) -> None:
    with opened(fleet.services):
        found = run(fleet, "in-a-window")
    assert (found["measured"], found["why"]) == (False, "a maintenance window is open")


def test_a_messenger_that_is_not_well_gets_no_load(fleet: Fleet) -> None:
    platform = fleet.services.platform
    platform.scale(MESSENGER, 0)
    platform.wait_scaled(MESSENGER, 30)
    found = run(fleet, "down")
    platform.scale(MESSENGER, 1)
    platform.wait_scaled(MESSENGER, 30)
    assert (found["measured"], found["why"][:26]) == (False, "the messenger is not well:")
    (told,) = fleet.events(task=TASK, slot="down", step="look", event="finished")
    assert told.outcome == "skipped"
