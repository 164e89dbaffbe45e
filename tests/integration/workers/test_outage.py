"""What must not depend on the moment at which Redis goes away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from logging import getLogger
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from celery.exceptions import ChordError
from celery.result import allow_join_result
from kombu import Message
from running_fleet import Broker

from g3zkp_maint.settings import load
from workers import outage
from workers.app import configuration
from workers.outage import ClosedForGood, PatientResults

pytestmark = pytest.mark.integration


@pytest.fixture
def app(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    monkeypatch.setenv("G3ZKP_REDIS__URL", broker.url)
    app = Celery("outage", set_as_current=False)
    outage.install(app)
    app.conf.update({**configuration(load()), "g3zkp_beat_announce": None})
    yield app
    app.close()


def _waiting(app: Celery, queue: str) -> int:
    with app.connection_for_read() as connection:
        return int(connection.default_channel.client.llen(queue))


def test_a_part_that_ends_while_redis_is_away_counts_when_it_is_back(app: Celery, broker: Broker) -> None:
    backend = app.backend
    assert isinstance(backend, PatientResults)
    after = app.signature("observe.after", immutable=True, task_id="after", queue="observe")
    backend.set_chord_size("parts", 2)
    parts = [Context(id=f"part-{number}", group="parts", group_index=number, chord=after) for number in range(2)]
    backend.on_chord_part_return(parts[0], "SUCCESS", None)
    broker.stop()
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(backend.on_chord_part_return, parts[1], "SUCCESS", None)
        with suppress(TimeoutError):
            told.result(timeout=1.5)
        assert not told.done()
        broker.start()
        told.result(timeout=20)
    assert _waiting(app, "observe") == 1


def _after() -> None:
    """Never runs: no worker is here."""


def _part_that_failed(app: Celery) -> Any:
    after = app.signature("observe.after", immutable=True, task_id="after", queue="observe")
    app.backend.set_chord_size("parts", 1)
    return Context(id="part-0", group="parts", group_index=0, chord=after)


def test_a_part_that_failed_still_fails_its_chord(app: Celery) -> None:
    app.task(name="observe.after")(_after)
    app.backend.on_chord_part_return(_part_that_failed(app), "FAILURE", ValueError("no such shard"))
    with pytest.raises(ChordError, match="no such shard"):
        app.AsyncResult("after").get(timeout=5)


def test_a_connection_that_cannot_be_closed_does_not_end_the_worker(app: Celery, broker: Broker) -> None:
    # A worker that is made forbids its whole process to wait for results; the tests after this one do.
    with allow_join_result():
        consumer = app.WorkController(pool_cls="solo", hostname="worker@here").consumer
    consumer.connection, message = _lost_in_the_middle(app, broker)
    consumer.on_connection_error_after_connected(ConnectionError("gone"))
    assert consumer.connection is None
    # What is done only now, as a worker acknowledges it.
    with app.connection_for_read() as connection:
        assert issubclass(ClosedForGood, connection.connection_errors)
    message.ack_log_error(getLogger(__name__), consumer.connection_errors)


def _lost_in_the_middle(app: Celery, broker: Broker) -> tuple[Any, Message]:
    """A connection that holds a message which is not acknowledged, and asks for more in two channels; its server is
    gone."""
    connection = app.connection_for_read()
    received: list[Message] = []
    app.send_task("observe.after")
    first = connection.default_channel
    first.basic_consume("observe", no_ack=False, callback=received.append, consumer_tag="first")
    connection.drain_events(timeout=10)
    second = connection.channel()
    second.basic_consume("observe", no_ack=False, callback=received.append, consumer_tag="second")
    for channel in (first, second):
        connection.transport.cycle._register_BRPOP(channel)
    broker.stop()
    return connection, received[0]
