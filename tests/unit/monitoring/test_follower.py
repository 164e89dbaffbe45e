"""Reading on in the journal: across restarts, caps, losses and changes of the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import fakeredis
import pytest
from recorded import CALENDAR, run

from g3zkp_maint.calendar.firing import Calendar
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.journal import Journal
from g3zkp_maint.metrics.follower import JournalFollower

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def client() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis(decode_responses=True)


def journal(client: fakeredis.FakeRedis, cap: int = 1000) -> Journal:
    return Journal(client, clock=SystemClock(), cap=cap)


def follower(client: fakeredis.FakeRedis, calendar: Calendar = CALENDAR) -> JournalFollower:
    """A new one, as a new exporter has."""
    return JournalFollower(journal(client), RedisCheckpoint(client, "metrics", keep_days=1), calendar)


def work(client: fakeredis.FakeRedis, runs: int, cap: int = 1000) -> None:
    writing = journal(client, cap)
    for _ in range(runs):
        for event in run("cleanup.run", at=NOW):
            writing.write(event)


def counted(found: JournalFollower) -> int:
    return found.read_on().tasks["cleanup.run"].outcomes["ok"]


def test_each_record_is_counted_once_and_by_each_exporter_alike(client: fakeredis.FakeRedis) -> None:
    one, another = follower(client), follower(client)
    work(client, 3)
    assert [counted(one), counted(one), counted(another)] == [3, 3, 3]
    work(client, 2)
    assert [counted(one), counted(another)] == [5, 5]


def test_a_new_exporter_goes_on_though_the_cap_has_taken_what_was_counted(client: fakeredis.FakeRedis) -> None:
    work(client, 50)
    first = follower(client)
    assert counted(first) == 50
    first.keep()
    client.xtrim("g3zkp:journal", maxlen=0, approximate=False)
    work(client, 2)
    assert counted(follower(client)) == 52, "a counter never falls"


def test_what_was_not_kept_is_read_again(client: fakeredis.FakeRedis) -> None:
    work(client, 3)
    counted(follower(client))
    assert counted(follower(client)) == 3


def test_a_journal_that_was_lost_is_counted_from_its_beginning(client: fakeredis.FakeRedis) -> None:
    work(client, 5)
    watching = follower(client)
    assert counted(watching) == 5
    client.flushall()
    work(client, 2)
    assert counted(watching) == 2


def test_another_calendar_counts_anew_as_it_decides_which_entry_a_run_is_for(client: fakeredis.FakeRedis) -> None:
    work(client, 2)
    first = follower(client)
    counted(first)
    first.keep()
    client.xtrim("g3zkp:journal", maxlen=0, approximate=False)
    assert "cleanup.run" not in follower(client, CALENDAR[1:]).read_on().tasks


def test_an_entry_that_an_upgrade_adds_is_fresh_since_then_and_the_others_are_as_they_were(
    client: fakeredis.FakeRedis,
) -> None:
    upgrade = NOW + timedelta(days=30)
    new, *former = CALENDAR
    work(client, 2)
    before = follower(client, former)
    untouched = {one.name: before.read_on().fresh_at(one.name) for one in former}
    before.keep()
    waiting = follower(client)
    assert waiting.read_on().fresh_at(new.name) == 0, "nothing is known of it, and nothing is overdue"
    waiting.keep()
    journal(client).write(run("cleanup.run", at=upgrade)[0])
    for after in (follower(client), waiting):
        assert after.read_on().fresh_at(new.name) == upgrade.timestamp()
        assert {one.name: after.read_on().fresh_at(one.name) for one in former} == untouched
        after.keep()
    work(client, 1)
    assert follower(client).read_on().fresh_at(new.name) == upgrade.timestamp(), "it is kept"


def test_an_entry_that_was_taken_off_the_calendar_is_new_when_it_comes_back(client: fakeredis.FakeRedis) -> None:
    gone, *others = CALENDAR
    for calendar in (CALENDAR, others):
        work(client, 1)
        found = follower(client, calendar)
        found.read_on()
        found.keep()
    journal(client).write(run("cleanup.run", at=NOW + timedelta(days=30))[0])
    assert follower(client).read_on().fresh_at(gone.name) == (NOW + timedelta(days=30)).timestamp()


def test_entries_of_a_first_reading_are_as_old_as_the_journal(client: fakeredis.FakeRedis) -> None:
    work(client, 1)
    tally = follower(client).read_on()
    assert {tally.fresh_at(one.name) for one in CALENDAR if one.task != "cleanup.run"} == {NOW.timestamp()}
