"""The exporter of metrics and of the calendar of windows, made of the services of its process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.coordination import Journal, Leases, connect
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.glance import glance
from g3zkp_maint.errors import CoordinationUnavailable
from g3zkp_maint.metrics.collector import CERTIFICATES, MESSENGER, SECRET, STORE, WINDOWS, MaintenanceCollector
from g3zkp_maint.metrics.follower import JournalFollower
from g3zkp_maint.metrics.messenger_facts import disk_usage, rotated_at
from g3zkp_maint.metrics.server import Page, serving
from g3zkp_maint.metrics.sources import Source
from g3zkp_maint.metrics.store_facts import look_into_store
from g3zkp_maint.operations.certificates import ends as certificates_end
from g3zkp_maint.operations.windows import feed, planned
from g3zkp_maint.rotation.entries import KEY_TYPES

#: How far the journal was read is kept for as long after the last time.
_KEEP_DAYS = 366
#: Where calendars subscribe to the windows.
CALENDAR_PATH = "/windows.ics"

_log = structlog.get_logger(__name__)


def collector(services: Services) -> MaintenanceCollector:
    """Everything that is read, by the settings; nothing is read yet. Raises SettingsError for a wrong calendar."""
    settings = services.settings
    calendar = load_catalog(settings.beat.calendar).everything
    queues = sorted({entry.queue for entry in calendar})
    # A scrape shall tell soon that Redis is away: no retries.
    client = connect(settings.redis.url.get_secret_value(), retries=0)
    times = settings.coordination
    leases = Leases(
        client, clock=services.clock, ttl_seconds=times.lease_ttl_seconds, renew_seconds=times.lease_renew_seconds
    )
    journal = Journal(client, clock=services.clock, cap=times.journal_records)
    present = settings.metrics.present_seconds
    return MaintenanceCollector(
        glance=lambda: glance(client, leases, queues, present_seconds=present),
        follower=JournalFollower(journal, RedisCheckpoint(client, "metrics", keep_days=_KEEP_DAYS), calendar),
        sources=tuple(_sources(services)),
        calendar=calendar,
        key_intervals={kind: getattr(settings.rotation, f"{kind}_hours") * 3600 for kind in KEY_TYPES},
        clock=services.clock,
        every_seconds=settings.metrics.refresh_seconds,
    )


@contextmanager
def running_exporter(services: Services) -> Iterator[str]:
    """Serves until the block is left; yields the address of the metrics. Raises SettingsError where it cannot listen."""
    made = collector(services)
    place = services.settings.metrics
    pages = {CALENDAR_PATH: Page("text/calendar; charset=utf-8", lambda: feed(services))}
    with serving(made, address=place.address, port=place.port, pages=pages) as url:
        made.start()
        yield url
    try:
        made.stop()
    except CoordinationUnavailable as error:
        # The next start reads a few records more.
        _log.warning("metrics-not-kept", reason=str(error))


def _sources(services: Services) -> Iterator[Source]:
    settings = services.settings
    # What is planned says for each scrape which windows are open; one that was opened since is seen at the next reading.
    yield Source(WINDOWS, lambda: planned(services))
    yield Source(CERTIFICATES, lambda: certificates_end(services))
    if settings.metrics.look_into_store:
        yield Source(STORE, lambda: look_into_store(services.primary_repository))
    if settings.metrics.look_into_secret:
        yield Source(SECRET, lambda: rotated_at(services.platform.read_secret(settings.messenger.keys_secret)))
    if settings.metrics.ask_messenger:
        yield Source(MESSENGER, lambda: disk_usage(services.platform.health_url()), keeps=False)
