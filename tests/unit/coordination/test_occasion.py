"""A canvas's parts: tried again alone, counted, and nothing once their canvas is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import fakeredis
import pytest

from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination import Journal, Leases, Mode, Runs
from g3zkp_maint.coordination.occasion import Conductor, HandOver, Held, Occasion
from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.errors import LeaseLost, PermanentError, RunExhausted, StoreFull, StoreUnavailable

TASK, SLOT = "backup.run", "2026-03-04T02:00Z"
HANDOFF_SECONDS = 300.0


@dataclass
class World:
    """One run that was handed off to its parts."""

    conductor: Conductor
    runs: Runs
    journal: Journal
    part: Occasion
    failures: list[Held] = field(default_factory=list)

    def state(self) -> RunState:
        record = self.runs.get(TASK, SLOT)
        assert record is not None
        return record.state

    def fails(self, error: Exception, name: str = "ipfs.000") -> None:
        with self.conductor.part(self.part, name):
            raise error

    def dies(self, name: str = "ipfs.000") -> None:
        """As a killed process: it has begun, and nothing follows."""
        self.runs.count_start(TASK, SLOT, chain=self.part.relay.chain if self.part.relay else 0, part=name)

    def told(self) -> list[str]:
        return [record.event.outcome for record in self.journal.read() if record.event.event == "failed"]


@pytest.fixture
def world(client: fakeredis.FakeRedis, clock: Clock, leases: Leases) -> World:
    runs = Runs(client, clock=clock, leases=leases, keep_days=14, max_attempts=3, handoff_seconds=HANDOFF_SECONDS)
    journal = Journal(client, clock=clock, cap=1000)
    conductor = Conductor(
        runs=runs,
        leases=leases,
        journal=journal,
        clock=clock,
        wait_seconds=60,
        handoff_seconds=HANDOFF_SECONDS,
        retry_seconds=1,
    )
    occasion = Occasion(TASK, SLOT, "worker", "{}", wants={"data": Mode.SHARED})
    begun: HandOver = conductor.perform(occasion, lambda _: HandOver({}))
    world = World(conductor, runs, journal, replace(occasion, relay=begun.relay))
    world.part = replace(world.part, at_failure=world.failures.append)
    return world


def test_a_part_that_fails_for_now_is_tried_again_alone_until_its_tries_are_used_up(world: World) -> None:
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            world.fails(StoreUnavailable("away"))
        assert world.state() is RunState.HANDOFF
    with pytest.raises(RunExhausted, match="failed 3 times; the last time: away"):
        world.fails(StoreUnavailable("away"))
    assert world.state() is RunState.FAILED
    assert world.told() == ["run-exhausted"]
    assert len(world.failures) == 1


def test_a_part_whose_worker_dies_each_time_is_given_up(world: World) -> None:
    for _ in range(3):
        world.dies()
    with pytest.raises(RunExhausted, match="given up after 3 starts"):
        world.fails(AssertionError("not to be reached"))
    assert world.state() is RunState.FAILED


def test_the_starts_of_one_part_are_none_of_another(world: World) -> None:
    for _ in range(3):
        world.dies("ipfs.000")
    with world.conductor.part(world.part, "ipfs.001") as held:
        assert held.attempt == 1
    assert world.state() is RunState.HANDOFF


def test_a_part_that_fails_for_good_fails_the_run_and_what_is_left_of_it_stands_back(world: World) -> None:
    with pytest.raises(StoreFull):
        world.fails(StoreFull("no room"))
    record = world.runs.get(TASK, SLOT)
    assert record is not None
    assert (record.state, record.error.code if record.error else "") == (RunState.FAILED, "store-full")
    with pytest.raises(LeaseLost, match="given up"):
        world.fails(AssertionError("not to be reached"), "ipfs.001")
    assert len(world.failures) == 1


@pytest.mark.parametrize("error", [StoreFull("no room"), StoreUnavailable("away"), ValueError("any")], ids=repr)
def test_whatever_goes_wrong_in_a_part_means_nothing_once_the_run_was_started_again(
    world: World, clock: Clock, error: Exception
) -> None:
    again = replace(world.part, relay=None, at_failure=None)

    def overtaken() -> None:
        with world.conductor.part(world.part, "ipfs.000"):
            clock.advance(HANDOFF_SECONDS + 1)  # type: ignore[attr-defined]
            world.conductor.perform(again, lambda _: HandOver({}))
            raise error

    with pytest.raises(LeaseLost, match="given up"):
        overtaken()
    assert world.state() is RunState.HANDOFF
    assert world.failures == []


def test_a_start_that_finds_the_last_attempt_dead_tells_the_journal_why_the_run_failed(
    world: World, clock: Clock
) -> None:
    again = replace(world.part, relay=None, at_failure=None)
    perform: Callable[[], object] = lambda: world.conductor.perform(again, lambda _: HandOver({}))  # noqa: E731
    for _ in range(2):
        clock.advance(HANDOFF_SECONDS + 1)  # type: ignore[attr-defined]
        perform()
    clock.advance(HANDOFF_SECONDS + 1)  # type: ignore[attr-defined]
    with pytest.raises(RunExhausted):
        perform()
    assert world.told() == ["run-exhausted"]
    with pytest.raises(PermanentError, match="has failed"):
        perform()
    assert world.told() == ["run-exhausted"]
