"""`probe beat` on a real beat that leads and then hangs, and on one that stands by."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from beating import BeatProcess, HandClock, Published, wait_for

from g3zkp_maint.coordination import connect
from g3zkp_maint.coordination.dispatch import DispatchLedger
from g3zkp_maint.coordination.presence import Presence
from g3zkp_maint.errors import NotThere
from g3zkp_maint.operations import probe
from workers.beat import MaintenanceScheduler

pytestmark = pytest.mark.integration

CALENDAR = """
from g3zkp_maint.calendar.cadence import EverySeconds
from g3zkp_maint.calendar.entry import CalendarEntry

CALENDAR = (CalendarEntry(name="beep", task="observe.beep", cadence=EverySeconds(2), why="to be counted"),)
"""


def test_a_beat_is_there_while_it_looks_at_the_calendar_leading_or_standing_by(
    tmp_path: Path,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    start_beat: Callable[..., BeatProcess],
    make_scheduler: Callable[..., MaintenanceScheduler],
    published: Published,
) -> None:
    (tmp_path / "short_calendar.py").write_text(CALENDAR)
    monkeypatch.syspath_prepend(tmp_path)
    client = connect(redis_url)
    seen = Presence(client), DispatchLedger(client)
    here = socket.gethostname()
    with pytest.raises(NotThere, match="never said so"):
        probe.beat(*seen, here, within_seconds=5)
    leader = start_beat()
    wait_for("a leader", lambda: published.leader_pid() == leader.pid)
    assert "leads: it published all that was due" in probe.beat(*seen, here, within_seconds=5)

    standby = make_scheduler(HandClock(datetime.now(UTC)), "short_calendar")
    standby.leader = "elsewhere:1:aa"
    standby.tick()
    assert f"stands by for {here}:{leader.pid}" in probe.beat(*seen, "elsewhere", within_seconds=5)

    leader.send(signal.SIGSTOP)
    wait_for("a beat that hangs is not there", lambda: _is_silent(seen, here))
    leader.send(signal.SIGCONT)
    client.close()


def _is_silent(seen: tuple[Presence, DispatchLedger], host: str) -> bool:
    try:
        probe.beat(*seen, host, within_seconds=2)
    except NotThere as error:
        return "silent for" in str(error)
    return False
