"""Beats as processes and in process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from beating import QUEUE, Announced, BeatProcess, HandClock, Published
from celery import Celery

from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.settings import Settings
from workers.beat import Announce, Facts, MaintenanceScheduler, beat_conf


@pytest.fixture
def published(redis_url: str) -> Iterator[Published]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield Published(client)


@pytest.fixture
def start_beat(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., BeatProcess]]:
    """Starts a beat for the calendar `short_calendar` of the test's folder; all are gone at the end."""
    started: list[BeatProcess] = []

    def start(url: str = redis_url) -> BeatProcess:
        started.append(BeatProcess(url, tmp_path, f"beat{len(started)}"))
        return started[-1]

    yield start
    for beat in started:
        if beat.is_running():
            beat.send(signal.SIGKILL)
        beat.process.wait(10)


@pytest.fixture
def announced() -> Announced:
    return []


def accept(*args: str, slot: str | None = None) -> None:
    """A task that is published and never run."""


@pytest.fixture
def make_scheduler(redis_url: str, announced: Announced) -> Iterator[Callable[..., MaintenanceScheduler]]:
    """A scheduler in this process, with a clock moved by hand, for the calendar module named."""
    made: list[MaintenanceScheduler] = []

    def remember(event: str, entry: CalendarEntry, slot: str, facts: Facts) -> None:
        announced.append((event, entry.name, {"slot": slot, **facts}))

    def make(
        clock: HandClock, calendar: str, announce: Announce | None = None, broker_url: str = redis_url
    ) -> MaintenanceScheduler:
        settings = Settings(redis={"url": redis_url}, beat={"calendar": calendar})
        app = Celery("beat-test", set_as_current=False)
        app.conf.update(
            beat_conf(settings, announce=announce or remember),
            broker_url=broker_url,
            redbeat_redis_url=redis_url,
            result_backend=redis_url,
            task_default_queue=QUEUE,
            # A worker may try for minutes; beat must not.
            task_publish_retry_policy={"max_retries": 100, "interval_start": 1},
        )
        for name in ("observe.beep", "backup.beep"):
            app.task(name=name)(accept)
        made.append(MaintenanceScheduler(app, clock=clock))
        return made[-1]

    yield make
    for scheduler in made:
        scheduler.close()
        scheduler.app.close()
