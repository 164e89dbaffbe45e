"""When a run between two steps is dead, and when it only queues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from g3zkp_maint.coordination.reaper import Queues, is_queued_up
from g3zkp_maint.coordination.run_record import RunRecord, RunState

NOW = datetime(2026, 1, 4, 2, tzinfo=UTC)


def queues(backlog: int) -> Queues:
    asked: list[str] = []

    def count(queue: str) -> int:
        asked.append(queue)
        assert asked == ["backup"]
        return backlog

    return Queues(count, patience_seconds=600)


def between_steps(overdue_seconds: float) -> RunRecord:
    until = NOW - timedelta(seconds=overdue_seconds)
    return RunRecord("backup.run", "2026-01-04T02:00Z", RunState.HANDOFF, next_try_at=until)


@pytest.mark.parametrize(
    ("backlog", "overdue_seconds", "queues_up"),
    [
        pytest.param(3, 10, True, id="others-are-first"),
        pytest.param(0, 10, False, id="nothing-waits-so-its-step-is-lost"),
        pytest.param(3, 601, False, id="a-queue-that-never-empties-hides-nothing-for-ever"),
    ],
)
def test_a_run_between_steps_is_spared_while_its_fleet_has_other_work(
    backlog: int, overdue_seconds: float, queues_up: bool
) -> None:
    assert is_queued_up(between_steps(overdue_seconds), queues(backlog), NOW) is queues_up


def test_a_run_whose_worker_died_is_not_spared_by_a_full_queue() -> None:
    dead = RunRecord("backup.run", "2026-01-04T02:00Z", RunState.RUNNING)
    assert not is_queued_up(dead, queues(5), NOW)
