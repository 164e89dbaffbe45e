"""What RedBeat's tools are shown agrees with what is dispatched: Celery's own crontab as the oracle."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.calendar.cadence import Cadence, Daily, EveryMinutes, EverySeconds, Monthly, Weekday, Weekly
from g3zkp_maint.settings import Settings
from workers.beat import beat_conf, celery_schedule

times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
cadences = st.one_of(
    st.builds(Daily, times),
    st.builds(Weekly, st.sampled_from(Weekday), times),
    st.builds(Monthly, st.integers(1, 28), times),
    st.builds(EveryMinutes, st.sampled_from([n for n in range(1, 60) if 60 % n == 0])),
)
moments = st.datetimes(
    datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2100-01-01"), timezones=st.just(UTC)
)


@pytest.fixture(scope="module", autouse=True)
def _utc() -> None:
    Celery("utc", set_as_current=True).conf.update(timezone="UTC", enable_utc=True)


@given(cadences, moments)
def test_celerys_crontab_has_the_same_next_slot(cadence: Cadence, moment: datetime) -> None:
    slot = cadence.at(cadence.index(moment))
    shown = celery_schedule(cadence)
    assert isinstance(shown, crontab)
    shown.nowfun = lambda: slot
    last, delta, _ = shown.remaining_delta(slot)
    assert last + delta == cadence.at(cadence.index(moment) + 1)


def test_every_few_seconds_is_an_interval() -> None:
    shown = celery_schedule(EverySeconds(2))
    assert isinstance(shown, schedule)
    assert shown.run_every == timedelta(seconds=2)


def test_the_configuration_names_the_scheduler_the_lock_and_the_calendar() -> None:
    conf = beat_conf(Settings())
    assert conf["beat_scheduler"] == "workers.beat.MaintenanceScheduler"
    assert (conf["redbeat_lock_timeout"], conf["beat_max_loop_interval"]) == (30, 5)
    assert (conf["g3zkp_calendar"], conf["beat_cron_starting_deadline"]) == ("beat_schedule", 3600)
