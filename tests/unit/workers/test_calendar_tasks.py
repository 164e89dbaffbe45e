"""The calendar names only what the Celery app has: tasks, queues, and the keyword by which a slot is handed over."""

from __future__ import annotations

import inspect

import pytest

from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.stack.environment import FLEETS
from workers.app import app

ENTRIES = load_catalog("beat_schedule").everything


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    app.loader.import_default_modules()
    app.finalize()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_names_a_task_that_takes_its_arguments_and_a_slot(entry: CalendarEntry) -> None:
    assert entry.task in app.tasks
    signature = inspect.signature(app.tasks[entry.task].run)
    signature.bind(*entry.args, **entry.kwargs, slot="2026-11-25T02:00Z")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_is_routed_to_the_queue_of_its_prefix(entry: CalendarEntry) -> None:
    assert {queue.name for queue in app.conf.task_queues} >= {entry.queue}
    route = app.amqp.router.route({}, entry.task, args=entry.args, kwargs=dict(entry.kwargs))
    assert route["queue"].name == entry.queue


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_is_killed_before_redis_gives_its_message_out_again(entry: CalendarEntry) -> None:
    visible_again = app.conf.broker_transport_options["visibility_timeout"]
    soft, hard = entry.soft_limit_seconds, entry.hard_limit_seconds
    assert (soft or app.conf.task_soft_time_limit) < (hard or app.conf.task_time_limit) < visible_again


def test_every_queue_is_consumed_by_a_fleet_of_the_stack_and_bound_to_an_exchange_of_its_own() -> None:
    assert {entry.queue for entry in ENTRIES} <= set(FLEETS)
    bound = {queue.name: (queue.exchange.name, queue.routing_key) for queue in app.conf.task_queues}
    assert bound == {fleet: (fleet, fleet) for fleet in FLEETS}


def test_the_app_dispatches_the_calendar_by_our_scheduler() -> None:
    assert app.conf.beat_scheduler == "workers.beat.MaintenanceScheduler"
    assert app.conf.timezone == "UTC"
    assert app.conf.enable_utc
