"""What a scrape answers, by HTTP from the exporter's own server, whatever of its sources is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import fakeredis
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from recorded import CALENDAR, SUNDAY, run

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.checkpoint import MemoryCheckpoint
from g3zkp_maint.coordination.glance import Glance, QueueGlance
from g3zkp_maint.coordination.journal import Journal
from g3zkp_maint.coordination.lease import RESOURCES
from g3zkp_maint.errors import CoordinationUnavailable, SettingsError, StoreUnavailable
from g3zkp_maint.metrics.catalog import BY_NAME, METRICS
from g3zkp_maint.metrics.collector import CERTIFICATES, MESSENGER, SECRET, STORE, MaintenanceCollector
from g3zkp_maint.metrics.facts import StoreFacts
from g3zkp_maint.metrics.follower import JournalFollower
from g3zkp_maint.metrics.samples import MOST_CERTIFICATES
from g3zkp_maint.metrics.server import Page, serving
from g3zkp_maint.metrics.sources import Source
from g3zkp_maint.testing.running_stack import wait_for

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
QUIET = Glance({"backup": QueueGlance(2, 1, None, None)}, 0, 0, (), dict.fromkeys(RESOURCES, 0), NOW, None, True)
SOURCES: dict[str, Callable[[], object]] = {
    STORE: lambda: StoreFacts(objects=3, bytes=1000, backups=1, newest_at=NOW.timestamp()),
    SECRET: lambda: {"signing": NOW.timestamp()},
    MESSENGER: lambda: 42.5,
    CERTIFICATES: lambda: {f"tls-{number}": float(number) for number in range(MOST_CERTIFICATES + 20)},
}

Values = dict[tuple[str, ...], float]


class Redis:
    """Both what it says now and its journal: there, or away."""

    def __init__(self) -> None:
        self.is_away = False

    def glance(self) -> Glance:
        if self.is_away:
            raise CoordinationUnavailable("Redis is not reached; is it running?")
        return QUIET

    def away(self) -> bytes:
        raise CoordinationUnavailable("Redis is not reached; is it running?")


class Nothing(Collector):
    def collect(self) -> tuple[()]:
        return ()


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def exporter(redis: Redis) -> Iterator[Callable[..., str]]:
    """Starts one, with the sources named replaced, and yields the address of its metrics once all were read."""
    client = fakeredis.FakeRedis(decode_responses=True)
    journal = Journal(client, clock=SystemClock(), cap=1000)
    for event in (*run("backup.run", at=SUNDAY), *run("cleanup.run", "store-unavailable", at=NOW)):
        journal.write(event)
    ending: list[Callable[[], object]] = []

    def start(**replaced: Callable[[], object]) -> str:
        read = {**SOURCES, **replaced}
        made = MaintenanceCollector(
            glance=redis.glance,
            follower=JournalFollower(journal, MemoryCheckpoint(), CALENDAR),
            sources=tuple(Source(name, one, keeps=name != MESSENGER) for name, one in read.items()),
            calendar=CALENDAR,
            key_intervals={"signing": 720 * 3600},
            clock=SystemClock(),
            every_seconds=3600,
        )
        pages = {"/away": Page("text/calendar", redis.away)}
        server = serving(made, address="127.0.0.1", port=0, pages=pages)
        url = server.__enter__()
        ending.extend((made.stop, lambda: server.__exit__(None, None, None)))
        made.start()
        last = ("g3zkp_maint_source_read_seconds", list(read)[-1])
        wait_for(lambda: scraped(url).get(last, 0) > 0, 10, lambda: "the sources are not read")
        return url

    yield start
    for end in reversed(ending):
        end()


def scraped(url: str) -> Values:
    """By name and label values; each series once."""
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200
    found = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]
    values = {(one.name, *one.labels.values()): one.value for one in found}
    assert len(values) == len(found), Counter((one.name, *one.labels.values()) for one in found).most_common(3)
    return values


def test_each_series_is_of_the_catalog_with_its_labels_and_told_once(exporter: Callable[..., str]) -> None:
    allowed = {series: metric for metric in METRICS for series in metric.series}
    found = scraped(exporter())
    assert {name for name, *_ in found} <= set(allowed)
    assert all(len(labels) == len(allowed[name].labels) for name, *labels in found)


def test_what_was_read_is_told(exporter: Callable[..., str]) -> None:
    found = scraped(exporter())
    assert found["g3zkp_maint_runs_total", "ok", "backup.run"] == 1
    assert found["g3zkp_maint_run_failures_total", "store-unavailable", "cleanup.run"] == 1
    assert found["g3zkp_maint_entry_last_success_timestamp_seconds", "backup-incremental"] == SUNDAY.timestamp() + 60
    assert found["g3zkp_maint_queue_messages", "backup"] == 2
    assert found["g3zkp_maint_backup_newest_timestamp_seconds",] == NOW.timestamp()
    assert found["g3zkp_disk_usage_percent",] == 42.5
    assert found["g3zkp_maint_key_rotated_timestamp_seconds", "signing"] == NOW.timestamp()


def test_what_never_was_is_zero_and_its_age_begins_with_the_journal(exporter: Callable[..., str]) -> None:
    found = scraped(exporter())
    assert found["g3zkp_maint_entry_last_success_timestamp_seconds", "cleanup"] == 0
    assert found["g3zkp_maint_entry_fresh_timestamp_seconds", "cleanup"] == SUNDAY.timestamp()
    assert found["g3zkp_maint_canary_arrived_timestamp_seconds", "backup"] == 0
    assert found["g3zkp_maint_drill_last_timestamp_seconds",] == 0


def test_of_many_certificates_those_are_told_that_end_first(exporter: Callable[..., str]) -> None:
    names = {labels[0] for name, *labels in scraped(exporter()) if name.startswith("g3zkp_maint_certificate_")}
    assert names == {f"tls-{number}" for number in range(MOST_CERTIFICATES)}


def test_a_redis_that_is_away_fails_no_scrape_and_nothing_is_made_up(
    exporter: Callable[..., str], redis: Redis
) -> None:
    url = exporter()
    redis.is_away = True
    found = scraped(url)
    assert found["g3zkp_maint_source_up", "redis"] == found["g3zkp_maint_source_up", "journal"] == 0
    assert found["g3zkp_maint_backup_newest_timestamp_seconds",] > 0, "what was read of the store stays"
    names = {name for name, *_ in found}
    assert not names & {"g3zkp_maint_fleet_workers", "g3zkp_maint_queue_messages", "g3zkp_maint_runs_total"}
    redis.is_away = False
    assert scraped(url)["g3zkp_maint_source_up", "redis"] == 1


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ValueError("not of ours")], ids=["ours", "any"])
def test_a_source_that_fails_is_told_as_down_and_the_others_are_there(
    exporter: Callable[..., str], error: Exception
) -> None:
    def broken() -> object:
        raise error

    found = scraped(exporter(**{STORE: broken}))
    assert found["g3zkp_maint_source_up", STORE] == 0
    assert found["g3zkp_maint_source_up", MESSENGER] == 1
    assert not any(name.startswith("g3zkp_maint_backup_") for name, *_ in found)


def test_the_server_answers_nothing_but_metrics_its_health_and_pages_it_can_make(exporter: Callable[..., str]) -> None:
    address = exporter().removesuffix("/metrics")
    paths = ("/health", "/", "/x", "/away")
    statuses = {path: httpx.get(address + path, trust_env=False).status_code for path in paths}
    assert statuses == {"/health": 200, "/": 404, "/x": 404, "/away": 503}


def test_a_port_that_is_taken_is_told_with_its_setting(exporter: Callable[..., str]) -> None:
    port = int(exporter().removesuffix("/metrics").rpartition(":")[2])
    with (
        pytest.raises(SettingsError, match=f"metrics.port={port}"),
        serving(Nothing(), address="127.0.0.1", port=port),
    ):
        pass


def test_names_of_the_catalog_say_their_unit() -> None:
    for metric in BY_NAME.values():
        if metric.kind == "counter":
            assert metric.name.endswith("_total")
        if "timestamp" in metric.name:
            assert metric.name.endswith("_timestamp_seconds")
