"""Health as the observe fleet looks after it: a real messenger that goes away and comes back, and a real webhook."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from running_fleet import Fleet, stack_fleet

from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.operations import health as operations
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.testing.running_stack import running_stack
from g3zkp_maint.testing.webhook import Webhook, running_webhook

pytestmark = pytest.mark.integration

TASK = "observe.health"


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    with running_webhook() as found:
        yield found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, webhook: Webhook) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("health")
    with running_stack(folder / "state", "--no-fleets", "--no-flower") as stack:
        fleet = stack_fleet(folder, stack)
        fleet.settings["G3ZKP_NOTICES__URLS"] = json.dumps([webhook.url("token").get_secret_value()])
        fleet.settings["G3ZKP_HEALTH__TRIES"] = "1"
        fleet.worker("observe", concurrency=1)
        yield fleet
        fleet.close()
    shutil.rmtree(folder / "state")


def look(fleet: Fleet, slot: str) -> dict[str, Any]:
    found: dict[str, Any] = fleet.send(TASK, slot=slot).get(timeout=60)
    return found


def test_an_outage_is_told_once_and_its_end_once(fleet: Fleet, webhook: Webhook) -> None:
    platform = fleet.services.platform
    assert look(fleet, "well")["state"] == "healthy"
    assert webhook.posted == []
    platform.scale(MESSENGER, 0)
    platform.wait_scaled(MESSENGER, 30)
    for slot in ("down-1", "down-1", "down-2"):
        assert look(fleet, slot)["state"] == "down"
    assert webhook.titles() == ["The messenger is down"]
    platform.scale(MESSENGER, 1)
    platform.wait_scaled(MESSENGER, 30)
    assert look(fleet, "back-1")["state"] == "down"  # one look alone is no recovery
    assert look(fleet, "back-2")["state"] == "healthy"
    assert webhook.titles() == ["The messenger is down", "The messenger is well again"]
    assert fleet.is_state(RunState.DONE, TASK, "down-1")
    (told,) = fleet.events(task=TASK, slot="down-1", step="check", event="finished")
    assert (told.outcome, told.detail["state"]) == ("failed", "down")
    (well,) = fleet.events(task=TASK, slot="well", step="check", event="finished")
    assert {"health_ms", "ready_ms", "metrics_ms", "slowest_ms"} <= set(well.detail)


def test_a_notice_that_did_not_go_out_goes_with_the_next_look_and_fails_no_run(fleet: Fleet, webhook: Webhook) -> None:
    platform = fleet.services.platform
    webhook.posted.clear()
    webhook.status = 500
    platform.scale(MESSENGER, 0)
    platform.wait_scaled(MESSENGER, 30)
    assert look(fleet, "untold")["state"] == "down"
    assert fleet.is_state(RunState.DONE, TASK, "untold")
    (failed,) = fleet.events(task=TASK, slot="untold", step="notice", event="failed")
    assert failed.outcome == "notice-not-sent"
    webhook.status = 200
    webhook.posted.clear()
    look(fleet, "told")
    look(fleet, "told-before")
    assert webhook.titles() == ["The messenger is down"]
    assert operations.known(fleet.services).told.name == "DOWN"


def test_no_password_of_a_service_is_in_redis_journal_or_logs(fleet: Fleet) -> None:
    client = fleet.services.redis
    texts = [worker.said() for worker in fleet.workers]
    texts += [repr(record) for record in fleet.services.journal.read()]
    texts += [str(client.dump(name)) for name in client.scan_iter()] + list(client.scan_iter())
    assert not [text for text in texts if "not-to-be-shown" in text]
