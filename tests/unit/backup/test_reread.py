"""What is read again today: due dates, budgets, and what must hold whatever arrives and leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup.reread import Shelved, plan_reread

NOW = datetime(2026, 3, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)

sizes = st.one_of(st.just(0), st.integers(1, 100), st.integers(1, 10_000))


@dataclass
class World:
    """Objects that come, are read as planned, and go; a run a day."""

    days: int
    now: datetime = NOW
    seen: dict[str, datetime] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def put(self, size: int) -> None:
        key = f"object-{len(self.sizes):04d}"
        self.sizes[key] = size
        self.seen[key] = self.now

    def run(self) -> tuple[int, int]:
        """The bytes read, and the budget."""
        objects = [Shelved(key, self.sizes[key], at) for key, at in self.seen.items()]
        plan = plan_reread(objects, now=self.now, days=self.days)
        self.seen.update(dict.fromkeys(plan.today, self.now))
        return sum(self.sizes[key] for key in plan.today), plan.budget

    def oldest(self) -> timedelta:
        return self.now - min(self.seen.values(), default=self.now)


@given(
    days=st.integers(1, 10),
    arrivals=st.lists(st.lists(sizes, max_size=6), min_size=1, max_size=40),
    leaving=st.randoms(use_true_random=False),
)
def test_whatever_comes_and_goes_nothing_is_unread_for_longer_than_the_days(
    days: int, arrivals: list[list[int]], leaving: object
) -> None:
    world = World(days)
    for today in arrivals:
        for size in today:
            world.put(size)
        read, budget = world.run()
        largest = max(world.sizes[key] for key in world.seen) if world.seen else 0
        assert budget <= read or not world.seen
        assert read < budget + largest or read == budget
        for key in list(world.seen):
            if leaving.random() < 0.2:  # type: ignore[attr-defined]
                del world.seen[key]
        world.now += DAY
        assert world.oldest() <= days * DAY


@given(days=st.integers(1, 30), stored=st.lists(st.integers(1, 1000), min_size=1, max_size=60))
def test_a_store_that_stays_as_it_is_is_read_in_even_parts(days: int, stored: list[int]) -> None:
    world = World(days)
    for size in stored:
        world.put(size)
    for _ in range(2 * days):
        read, budget = world.run()
        # A day is held back, so that a run some hours late keeps the promise too.
        assert budget <= math.ceil(sum(stored) / max(days - 1, 1))
        assert read < budget + max(stored)
        world.now += DAY
    assert world.oldest() <= days * DAY


@pytest.mark.parametrize(("missed", "share"), [(0, 3), (10, 5), (20, 9), (29, 90), (40, 90)])
def test_missed_days_are_caught_up_by_as_much_a_day_as_is_needed(missed: int, share: int) -> None:
    objects = [Shelved(f"{number:02d}", 1, NOW) for number in range(90)]
    plan = plan_reread(objects, now=NOW + missed * DAY, days=30)
    assert len(plan.today) == plan.budget == share
    assert plan.overdue == (90 if missed > 30 else 0)


def test_what_was_read_longest_ago_comes_first() -> None:
    objects = [Shelved("new", 5, NOW), Shelved("old", 5, NOW - 20 * DAY), Shelved("older", 5, NOW - 25 * DAY)]
    assert plan_reread(objects, now=NOW, days=30).today == ("older",)


def test_one_object_larger_than_the_budget_is_read_all_the_same() -> None:
    plan = plan_reread([Shelved("large", 3000, NOW), Shelved("small", 1, NOW)], now=NOW, days=30)
    assert plan.budget == 101
    assert plan.today == ("large",)


def test_a_limit_of_bytes_reads_less_than_the_days_ask_for_and_what_becomes_late_is_counted() -> None:
    objects = [Shelved(f"{number:02d}", 10, NOW) for number in range(90)]
    plan = plan_reread(objects, now=NOW + 20 * DAY, days=30, most_bytes=40)
    assert (plan.budget, plan.planned, len(plan.today), plan.overdue) == (90, 40, 4, 0)
    assert plan_reread(objects, now=NOW + 31 * DAY, days=30, most_bytes=40).overdue == 90
    enough = plan_reread(objects, now=NOW + 20 * DAY, days=30, most_bytes=90)
    assert enough == plan_reread(objects, now=NOW + 20 * DAY, days=30)


def test_a_limit_below_one_object_still_reads_one_a_run() -> None:
    plan = plan_reread([Shelved("a", 3000, NOW), Shelved("b", 3000, NOW)], now=NOW, days=30, most_bytes=1)
    assert plan.today == ("a",)


def test_nothing_stored_is_nothing_to_read() -> None:
    plan = plan_reread([], now=NOW, days=30)
    assert (plan.today, plan.budget, plan.total) == ((), 0, 0)
