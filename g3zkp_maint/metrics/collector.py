"""A scrape: reads on in the journal, looks at Redis, takes what the background has read, and gives it to Prometheus'
library. Scrapes wait for each other; one takes a few milliseconds, and a few seconds where Redis is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

import structlog
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from g3zkp_maint.calendar.firing import Calendar
from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.glance import Glance
from g3zkp_maint.errors import MaintenanceError
from g3zkp_maint.metrics.catalog import METRICS, Metric
from g3zkp_maint.metrics.facts import Facts, SourceState
from g3zkp_maint.metrics.follower import JournalFollower
from g3zkp_maint.metrics.samples import Known, Sample, samples
from g3zkp_maint.metrics.sources import Source, Sources
from g3zkp_maint.metrics.tally import Tally

REDIS, JOURNAL, STORE, SECRET, MESSENGER = "redis", "journal", "store", "secret", "messenger"
WINDOWS, CERTIFICATES = "windows", "certificates"

_log = structlog.get_logger(__name__)


class MaintenanceCollector(Collector):
    """See the module. `start` and `stop` are for the thread behind it."""

    def __init__(
        self,
        *,
        glance: Callable[[], Glance],
        follower: JournalFollower,
        sources: tuple[Source, ...],
        calendar: Calendar,
        key_intervals: Mapping[str, float],
        clock: Clock,
        every_seconds: float,
    ) -> None:
        """`sources` are WINDOWS, CERTIFICATES, STORE, SECRET and MESSENGER, as far as they may be asked."""
        self._glance = glance
        self._follower = follower
        self._calendar = calendar
        self._key_intervals = key_intervals
        self._clock = clock
        self._lock = threading.Lock()
        self._redis_state = SourceState(False, 0.0, 0.0)
        # The journal first: a scrape does without it until it was read once.
        everything = (Source(JOURNAL, self._follow), *sources)
        self._sources = Sources(everything, clock=clock, every_seconds=every_seconds)

    def start(self) -> None:
        self._sources.start()

    def stop(self) -> None:
        """Keeps how far the journal was read. Raises CoordinationUnavailable."""
        self._sources.stop()
        with self._lock:
            self._follower.keep()

    def collect(self) -> Iterator[Family]:
        """One family a metric of the catalog that there is a sample of."""
        if not self._follower.is_loaded:
            # Its first reading holds the lock, and may take longer than whoever scrapes waits.
            return _families(samples(self._known(self._looked(), None)))
        with self._lock:
            glance = self._looked()
            found = list(samples(self._known(glance, self._read_on() if glance else None)))
        return _families(found)

    def describe(self) -> Iterator[Family]:
        """Nothing: at its registration nothing is read."""
        return iter(())

    def _follow(self) -> None:
        with self._lock:
            self._follower.read_on()
            self._follower.keep()

    def _looked(self) -> Glance | None:
        began = self._clock.monotonic()
        try:
            found = self._glance()
        except MaintenanceError as error:
            _log.warning("metrics-source-failed", source=REDIS, reason=str(error))
            self._redis_state = SourceState(False, self._redis_state.read_at, self._clock.monotonic() - began)
            return None
        self._redis_state = SourceState(True, self._clock.now().timestamp(), self._clock.monotonic() - began)
        return found

    def _read_on(self) -> Tally | None:
        try:
            return self._follower.read_on()
        except MaintenanceError as error:
            _log.warning("metrics-source-failed", source=JOURNAL, reason=str(error))
            return None

    def _known(self, glance: Glance | None, tally: Tally | None) -> Known:
        states = {REDIS: self._redis_state, **self._sources.states()}
        if tally is None:
            states[JOURNAL] = SourceState(False, states[JOURNAL].read_at, states[JOURNAL].seconds)
        else:
            states[JOURNAL] = SourceState(True, self._clock.now().timestamp(), states[JOURNAL].seconds)
        facts = Facts(
            store=self._sources.value(STORE),
            rotated_at=self._sources.value(SECRET),
            disk_usage_percent=self._sources.value(MESSENGER),
            windows=self._sources.value(WINDOWS),
            certificates_end=self._sources.value(CERTIFICATES),
        )
        return Known(tally, glance, facts, states, self._calendar, self._key_intervals, self._clock.now())


def _families(found: Iterator[Sample] | list[Sample]) -> Iterator[Family]:
    by_series: dict[str, list[Sample]] = {}
    for sample in found:
        by_series.setdefault(sample.name, []).append(sample)
    for metric in METRICS:
        family = _family(metric, by_series)
        if family.samples:
            yield family


def _family(metric: Metric, by_series: Mapping[str, list[Sample]]) -> Family:
    # The library's name of a counter goes without `_total`; its samples have it.
    name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
    family = Family(name, metric.help, metric.kind)
    for series in metric.series:
        for sample in by_series.get(series, ()):
            family.add_sample(series, dict(zip(metric.labels, sample.labels, strict=True)), sample.value)
    return family
