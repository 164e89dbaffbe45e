"""What a dispatcher owes after an absence, with the clock moved by hand and a real Valkey."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from beating import Announced, HandClock, Published
from redbeat.schedulers import RedBeatSchedulerEntry

from g3zkp_maint.coordination.dispatch import slot_key
from g3zkp_maint.coordination.journal import Journal
from g3zkp_maint.errors import CoordinationUnavailable, LeaseLost
from workers.beat import MaintenanceScheduler, journaled

pytestmark = pytest.mark.integration

MakeScheduler = Callable[..., MaintenanceScheduler]

CALENDAR = """
from datetime import time
from g3zkp_maint.calendar.cadence import Daily, EveryMinutes, Weekday, Weekly
from g3zkp_maint.calendar.entry import CalendarEntry

CALENDAR = (
    CalendarEntry(
        name="incremental", task="backup.beep", cadence=Daily(time(2)), args=("incremental",), why="",
        soft_limit_seconds=60, hard_limit_seconds=90,
    ),
    CalendarEntry(name="full", task="backup.beep", cadence=Weekly(Weekday.SUNDAY, time(2)), args=("full",), why=""),
    CalendarEntry(
        name="look", task="observe.beep", cadence=EveryMinutes(5), args=("look",), missed="skip",
        starting_deadline_seconds=60, why="", group="look",
    ),
    CalendarEntry(
        name="count", task="observe.beep", cadence=EveryMinutes(30), args=("count",), missed="catch_up", why="",
        group="count",
    ),
)
"""
# A Saturday.
SATURDAY = datetime(2026, 10, 31, 1, 59, 50, tzinfo=UTC)


@pytest.fixture
def calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"policies_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(CALENDAR)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def calls(published: Published) -> list[tuple[str, str]]:
    return [(str(message["args"][0]), str(message["slot"])) for message in published.messages()]  # type: ignore[index]


def test_the_first_start_ever_has_missed_nothing(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    scheduler = make_scheduler(HandClock(SATURDAY), calendar)
    assert scheduler.tick() == pytest.approx(5), "the longest loop, though the next slot is 10 s away"
    assert calls(published) == []


def test_a_message_carries_its_slot_limits_and_expiry(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    clock.move(seconds=10.02)
    scheduler.tick()
    scheduler.tick()

    slot = "2026-10-31T02:00Z"
    assert calls(published) == [("incremental", slot), ("look", slot), ("count", slot)]
    backup, look, _ = (message["headers"] for message in published.messages())
    assert backup["timelimit"] == [90, 60]  # type: ignore[index]
    assert backup["expires"] is None  # type: ignore[index]
    assert look["expires"] == "2026-10-31T02:01:00+00:00"  # type: ignore[index]


def test_after_an_absence_each_entry_does_as_its_policy_says(
    make_scheduler: MakeScheduler, calendar: str, published: Published, announced: Announced
) -> None:
    clock = HandClock(SATURDAY)
    make_scheduler(clock, calendar).tick()
    published.client.delete("g3zkp:redbeat::lock")

    clock.set(2026, 11, 3, 3, 2, 30)
    back = make_scheduler(clock, calendar)
    back.tick()
    told = len(announced)
    back.tick()
    assert len(announced) == told, "what was missed is settled once, also where nothing ran for it"

    found = calls(published)
    # Tuesday: the newest incremental, and Sunday's full one; Sunday's incremental was never to run.
    assert [call for call in found if call[0] == "full"] == [("full", "2026-11-01T02:00Z")]
    assert [call for call in found if call[0] == "incremental"] == [("incremental", "2026-11-03T02:00Z")]
    # 03:00 was two and a half minutes ago: too late to look.
    assert [call for call in found if call[0] == "look"] == []
    counted = [slot for name, slot in found if name == "count"]
    assert counted[0] == "2026-10-31T02:00Z"
    assert counted[-1] == "2026-11-03T03:00Z"
    assert len(counted) == len(set(counted)) == 3 * 48 + 3

    facts = {entry: facts for event, entry, facts in announced if event == "missed"}
    assert facts["incremental"] == {
        "slot": "2026-11-03T02:00Z",
        "policy": "once",
        "runs": 1,
        "dropped": 3,
        "first_run": "2026-11-03T02:00Z",
        "last_run": "2026-11-03T02:00Z",
        "first_dropped": "2026-10-31T02:00Z",
    }
    assert facts["look"]["policy"] == "skip"
    assert facts["look"]["runs"] == 0
    assert facts["count"]["policy"] == "catch_up"
    assert facts["count"]["runs"] == len(counted)


def test_on_a_sunday_the_incremental_backup_is_superseded_and_said_to_be(
    make_scheduler: MakeScheduler, calendar: str, published: Published, announced: Announced
) -> None:
    clock = HandClock(datetime(2026, 11, 1, 1, 59, tzinfo=UTC))
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    clock.move(seconds=61)
    scheduler.tick()
    scheduler.tick()
    assert [name for name, _ in calls(published) if name in ("full", "incremental")] == ["full"]
    assert ("superseded", "incremental", {"slot": "2026-11-01T02:00Z", "by": "full"}) in announced
    assert [event for event, entry, _ in announced if entry == "incremental"] == ["superseded"]


def test_a_crash_between_publish_and_record_publishes_the_same_slot_again(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    standing = published.client.get(slot_key("incremental"))
    clock.move(seconds=11)
    scheduler.tick()
    # As if the leader had died before it recorded the publish.
    published.client.set(slot_key("incremental"), standing or "")
    scheduler.tick()
    assert [call for call in calls(published) if call[0] == "incremental"] == [("incremental", "2026-10-31T02:00Z")] * 2


@pytest.mark.timeout(10)
def test_a_slot_that_could_not_be_published_stays_due(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    clock = HandClock(SATURDAY)
    # Nothing listens on port 1: the ledger is reached, the broker is not.
    cut_off = make_scheduler(clock, calendar, broker_url="redis://127.0.0.1:1/0")
    cut_off.tick()
    standing = published.client.get(slot_key("incremental"))
    clock.move(seconds=11)
    assert cut_off.tick() == pytest.approx(5), "it bears it, and tries again in the next loop"
    assert published.client.get(slot_key("incremental")) == standing
    cut_off.close()

    make_scheduler(clock, calendar).tick()
    assert ("incremental", "2026-10-31T02:00Z") in calls(published)


def test_a_leader_whose_entry_was_moved_by_another_stops(
    make_scheduler: MakeScheduler, calendar: str, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    clock.move(seconds=11)
    plans = scheduler._due(clock.now())
    published.client.set(slot_key(plans[0].entry.name), "2026-12-01T02:00:00Z")
    with pytest.raises(LeaseLost, match="another dispatcher"):
        scheduler._carry_out(plans[0])


def test_a_leader_whose_lock_was_taken_stops_before_it_publishes(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    published.client.set("g3zkp:redbeat::lock", "another")
    clock.move(seconds=11)
    with pytest.raises(LeaseLost):
        scheduler.tick()
    assert calls(published) == []
    scheduler.close()
    assert published.client.get("g3zkp:redbeat::lock") == "another", "it gives back no lock that is not its own"


def test_the_lock_is_asked_for_again_before_each_message(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    clock.move(seconds=11)
    first, second, _ = scheduler._due(clock.now())
    scheduler._carry_out(first)
    # As if the process had been stopped between two messages of one tick.
    published.client.set("g3zkp:redbeat::lock", "another")
    with pytest.raises(LeaseLost):
        scheduler._carry_out(second)
    assert len(calls(published)) == 1


def test_a_leader_whose_lock_was_taken_decides_nothing_either(
    make_scheduler: MakeScheduler, calendar: str, published: Published, announced: Announced
) -> None:
    clock = HandClock(datetime(2026, 11, 1, 1, 59, tzinfo=UTC))
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    published.client.set("g3zkp:redbeat::lock", "another")
    clock.move(seconds=61)
    with pytest.raises(LeaseLost):
        scheduler.tick()
    assert announced == [], "the incremental backup that is superseded now is another's to record"


def test_a_standby_publishes_nothing(make_scheduler: MakeScheduler, calendar: str, published: Published) -> None:
    clock = HandClock(SATURDAY)
    make_scheduler(clock, calendar).tick()
    standby = make_scheduler(clock, calendar)
    clock.move(seconds=11)
    standby.tick()
    assert calls(published) == []


def test_an_entry_recorded_in_the_future_begins_anew(
    make_scheduler: MakeScheduler, calendar: str, published: Published, announced: Announced
) -> None:
    clock = HandClock(SATURDAY)
    published.client.set(slot_key("incremental"), "2031-01-01T02:00:00Z")
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    clock.move(seconds=11)
    scheduler.tick()
    assert ("incremental", "2026-10-31T02:00Z") in calls(published)
    assert ("clock-was-ahead", "incremental", {"slot": "2031-01-01T02:00Z"}) in announced


def test_a_clock_set_back_a_little_fires_nothing_twice(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    clock.move(seconds=11)
    scheduler.tick()
    clock.move(seconds=-60)
    scheduler.tick()
    clock.move(seconds=61)
    scheduler.tick()
    assert len(calls(published)) == len(set(calls(published))) == 3


def test_an_entry_that_left_the_calendar_is_forgotten(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    clock = HandClock(SATURDAY)
    published.client.sadd("g3zkp:redbeat::statics", "gone")
    published.client.set(slot_key("gone"), "2026-01-01T02:00:00Z")
    make_scheduler(clock, calendar).tick()
    assert published.client.get(slot_key("gone")) is None


def test_redbeats_tools_see_the_calendar_and_when_each_entry_ran(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    clock.move(seconds=11)
    scheduler.tick()
    shown = RedBeatSchedulerEntry.from_key("g3zkp:redbeat:incremental", app=scheduler.app)
    assert shown.task == "backup.beep"
    assert shown.last_run_at == datetime(2026, 10, 31, 2, tzinfo=UTC)
    assert published.client.zcard("g3zkp:redbeat::schedule") == 4


def test_the_pulse_tells_who_leads_and_what_was_published_last(make_scheduler: MakeScheduler, calendar: str) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    assert scheduler.ledger.pulse() is None
    scheduler.tick()
    clock.move(seconds=11)
    scheduler.tick()
    pulse = scheduler.ledger.pulse()
    assert pulse is not None
    assert (pulse.leader, pulse.ticked_at, pulse.published_at) == (scheduler.leader, clock.now(), clock.now())
    assert (pulse.published_entry, pulse.published_slot) == ("count", "2026-10-31T02:00Z")


def test_redis_away_is_borne_for_as_long_as_the_lock_lasts(make_scheduler: MakeScheduler, calendar: str) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    scheduler._bear(CoordinationUnavailable("away"))
    clock.move(seconds=29)
    scheduler._bear(CoordinationUnavailable("away"))
    clock.move(seconds=1)
    with pytest.raises(CoordinationUnavailable):
        scheduler._bear(CoordinationUnavailable("away"))


def test_nothing_is_subscribed_to_for_a_result_that_nobody_here_waits_for(
    make_scheduler: MakeScheduler, calendar: str, published: Published
) -> None:
    clock = HandClock(SATURDAY)
    scheduler = make_scheduler(clock, calendar)
    scheduler.tick()
    published.client.config_resetstat()
    clock.move(seconds=11)
    scheduler.tick()
    commands = published.client.info("commandstats")
    assert commands["cmdstat_lpush"]["calls"] == 3
    assert "cmdstat_subscribe" not in commands


def test_what_it_decides_is_in_the_journal(make_scheduler: MakeScheduler, calendar: str, published: Published) -> None:
    clock = HandClock(datetime(2026, 11, 1, 1, 59, tzinfo=UTC))
    journal = Journal(published.client, clock=clock, cap=100)
    scheduler = make_scheduler(clock, calendar, journaled(journal))
    scheduler.tick()
    clock.move(seconds=61)
    scheduler.tick()
    record, *sent = journal.read()
    assert (record.event.event, record.event.task, record.event.slot) == (
        "superseded",
        "backup.beep",
        "2026-11-01T02:00Z",
    )
    assert record.event.detail == {"entry": "incremental", "by": "full"}
    assert {one.event.event for one in sent} == {"published"}
    assert [one.event.run for one in sent] == [f"{name}:2026-11-01T02:00Z" for name in ("full", "look", "count")]
