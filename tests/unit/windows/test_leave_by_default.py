"""The rotation of keys by the settings as they come: it runs unattended at its time on the calendar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import fakeredis
import pytest
from window_cases import MINUTE, SUNDAY

from g3zkp_maint.backup.restore_plan import RestorePlan
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.coordination.occasion import Held, Occasion
from g3zkp_maint.errors import HeldBack, OutsideWindow
from g3zkp_maint.operations import restore, rotation
from g3zkp_maint.operations.rotation import RotationRequest
from g3zkp_maint.rotation.plan import PlanItem, RotationPlan
from g3zkp_maint.settings import Settings
from g3zkp_maint.windows import words

DUE = RotationPlan((PlanItem("signing", is_due=True, why="forced", key_id="a"),), ())
UNATTENDED = RotationRequest(())


@dataclass
class Clock:
    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


@dataclass
class Place:
    services: Services
    clock: Clock

    def rotate(self, at: datetime, *, minutes: float = 0) -> None:
        """As far as windows are concerned: asks for leave, and is at work for so long."""

        def body(held: Held) -> str:
            rotation.require_leave(self.services, UNATTENDED, held, DUE)
            self.clock.moment += minutes * MINUTE
            return "done"

        self.clock.moment = at
        occasion = Occasion(rotation.TASK, f"slot-{at.isoformat()}", "a test", "{}")
        self.services.conductor.perform(occasion, body)

    def asked(self) -> dict[str, Any]:
        """What the journal tells of the last leave that was asked for."""
        events = [record.event for record in self.services.journal.read()]
        return dict([one for one in events if one.step == words.STEP and one.event != "started"][-1].detail)


@pytest.fixture
def place() -> Place:
    clock = Clock(SUNDAY)
    services = Services(Settings(), clock=clock)
    services.__dict__["redis"] = fakeredis.FakeRedis(decode_responses=True)
    return Place(services, clock)


def test_its_slot_lies_in_the_window_that_there_is_by_default() -> None:
    (entry,) = [one for one in load_catalog("beat_schedule").everything if one.task == rotation.TASK]
    assert entry.disruptive
    assert entry.fires_at(SUNDAY)


@pytest.mark.parametrize("late", [timedelta(), timedelta(seconds=5), 12 * MINUTE])
def test_the_first_rotation_has_leave_at_its_slot_and_somewhat_later(place: Place, late: timedelta) -> None:
    place.rotate(SUNDAY + late)
    found = place.asked()
    assert (found["leave"], found["expected_seconds"]) == ("window", 1050)
    assert found["basis"] == "all its time limits, as none has run yet"


def test_the_first_rotation_comes_too_late_when_its_time_limits_reach_past_the_window(place: Place) -> None:
    with pytest.raises(OutsideWindow, match="may take 18 min"):
        place.rotate(SUNDAY + 13 * MINUTE)
    assert (place.asked()["cause"], place.asked()["next"]) == ("too-short", "weekly-20261206T0300")


def test_later_ones_are_measured_by_those_before(place: Place) -> None:
    for week, minutes in enumerate((2, 4, 3)):
        place.rotate(SUNDAY + week * timedelta(days=7), minutes=minutes)
    place.rotate(SUNDAY + timedelta(days=21) + 26 * MINUTE, minutes=4)
    assert (place.asked()["expected_seconds"], place.asked()["basis"]) == (240, "the longest of 3 past runs")
    with pytest.raises(OutsideWindow, match="may take 4 min"):
        place.rotate(SUNDAY + timedelta(days=28, minutes=26, seconds=1))


def test_a_worker_whose_clock_is_behind_waits_for_the_window(place: Place) -> None:
    with pytest.raises(HeldBack) as held:
        place.rotate(SUNDAY - timedelta(seconds=3))
    assert held.value.retry_after_seconds == pytest.approx(10)
    place.clock.moment = SUNDAY


def test_one_that_was_missed_does_not_restart_the_messenger_on_monday(place: Place) -> None:
    with pytest.raises(OutsideWindow, match="the next that is long enough is weekly-20261206T0300, Sun 6 Dec 2026"):
        place.rotate(SUNDAY + timedelta(days=1, hours=7))


# -- restores ------------------------------------------------------------------------------------------------------------


def plan_of(mebibytes: int) -> RestorePlan:
    return replace(_EMPTY, bytes=mebibytes * 2**20)


_EMPTY = RestorePlan(
    backup="g3zkp_full_20261129_020000",
    target="messenger",
    components=("ipfs",),
    paths=(),
    archives=None,
    steps=(),
    objects=0,
    read_bytes=0,
    entries=0,
    bytes=0,
    token="t",
)


@pytest.mark.parametrize(("mebibytes", "seconds"), [(0, 600), (1200, 660), (120_000, 6600)])
def test_a_restore_is_measured_by_its_size(place: Place, mebibytes: int, seconds: float) -> None:
    found = restore.work(place.services, plan_of(mebibytes))
    assert (found.seconds, found.heeds_alerts) == (seconds, False)


def test_a_restore_is_taken_to_last_as_long_as_the_longest_so_far(place: Place) -> None:
    def body(held: Held) -> str:
        take = partial(restore.work, place.services, plan_of(1))
        restore.take_leave(place.services, take, held, force=True, reason="a test")
        place.clock.moment += 40 * MINUTE
        return "done"

    place.services.conductor.perform(Occasion(restore.TASK, "one", "a test", "{}"), body)
    assert restore.work(place.services, plan_of(1)).seconds == 2400
    assert restore.work(place.services, plan_of(120_000)).seconds == 6600
