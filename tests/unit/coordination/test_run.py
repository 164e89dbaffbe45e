"""Runs: begun once, taken over when dead, counted, and never overwritten by one who lost them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from g3zkp_maint.coordination import Finished, Leases, Runs, RunState, Started
from g3zkp_maint.errors import BadInput, LeaseBusy, LeaseLost, RunBusy, RunExhausted, SourceError, StoreUnavailable

TASK, SLOT = "backup.run", "2031-03-02T02:00Z"


@pytest.fixture
def runs(client, clock, leases):
    return Runs(client, clock=clock, leases=leases, keep_days=14, max_attempts=3, handoff_seconds=300)


@pytest.fixture
def begin(runs):
    """Begins the run; what is still held after the test is given back."""
    started: list[Started] = []

    def enter(**options):
        found = runs.begin(TASK, SLOT, **{"owner": "w1", "signature": '{"s":1}', "deadline_seconds": 60, **options})
        if isinstance(found, Started):
            started.append(found)
        return found

    yield enter
    for run in started:
        run.lease.release()


@pytest.fixture
def kill(leases: Leases):
    """What kill -9 and the end of the time to live leave behind: the record as it was, and no lease."""

    def end(run: Started) -> None:
        assert leases.break_(f"run:{run.record.task}:{run.record.slot}") == 1

    return end


def test_a_run_that_comes_again_gets_the_result_of_the_first(runs, begin):
    run = begin()
    assert run.attempt == 1
    runs.finish(run, {"name": "g3zkp_full_20310302_020000"})
    again = begin(owner="w2")
    assert isinstance(again, Finished)
    assert (again.state, again.result) == (RunState.DONE, {"name": "g3zkp_full_20310302_020000"})


def test_a_run_that_is_alive_is_busy_also_for_the_same_owner(begin):
    begin()
    with pytest.raises(RunBusy, match="somebody's already"):
        begin()


def test_a_dead_run_is_taken_over_and_the_death_is_counted(runs, begin, kill):
    first = begin()
    kill(first)
    second = begin(owner="w2")
    assert (second.attempt, second.record.owner) == (2, "w2")
    assert second.lease.token > first.lease.token
    assert "attempt 1 by w1 died" in second.record.error.message


def test_one_who_lost_the_run_cannot_write_over_his_successor(runs, begin, kill):
    first = begin()
    kill(first)
    second = begin(owner="w2")
    for leave in (
        lambda: runs.finish(first, "stale"),
        lambda: runs.fail(first, SourceError("stale")),
        lambda: runs.handoff(first),
        lambda: runs.wait(first, LeaseBusy("busy"), next_try_at=first.record.started),
    ):
        with pytest.raises(LeaseLost, match="no longer run by w1"):
            leave()
    assert runs.finish(second, "fresh").result == "fresh"
    with pytest.raises(LeaseLost):
        runs.finish(first, "stale")
    assert runs.get(TASK, SLOT).result == "fresh"


def test_a_run_that_kills_its_worker_each_time_is_failed_at_the_cap(runs, begin, kill):
    for _ in range(3):
        kill(begin())
    with pytest.raises(RunExhausted, match="given up after 3 attempts"):
        begin()
    again = begin()
    assert (again.state, again.error.code) == (RunState.FAILED, "run-exhausted")


def test_a_permanent_failure_stays_for_the_slot_until_an_operator_resets_it(runs, begin):
    assert runs.fail(begin(), SourceError("/data/ipfs is not there; mount it")).state is RunState.FAILED
    again = begin()
    assert (again.error.code, again.error.message) == ("source", "/data/ipfs is not there; mount it")
    assert runs.reset(TASK, SLOT).signature == '{"s":1}'
    assert begin().attempt == 1


def test_temporary_failures_are_tried_again_until_the_cap(runs, begin, clock):
    states = []
    for _ in range(3):
        record = runs.fail(begin(), StoreUnavailable("no answer", retry_after_seconds=7))
        states.append((record.state, record.attempts))
    assert states == [(RunState.WAITING, 1), (RunState.WAITING, 2), (RunState.FAILED, 3)]
    assert isinstance(begin(), Finished)


def test_the_loss_of_a_resources_lease_is_a_temporary_failure(runs, begin):
    assert runs.fail(begin(), LeaseLost("data is gone")).state is RunState.WAITING


def test_texts_of_foreign_errors_do_not_enter_the_record(runs, begin):
    record = runs.fail(begin(), ValueError("password=hunter2"))
    assert record.error.code == "unexpected"
    assert "hunter2" not in record.error.message


def test_waiting_costs_no_attempt_and_has_a_deadline(runs, begin, clock):
    for _ in range(5):
        run = begin(deadline_seconds=60)
        assert run.attempt == 1
        record = runs.wait(run, LeaseBusy("data is held by x"), next_try_at=clock.now() + timedelta(seconds=10))
        assert record.state is RunState.WAITING
        clock.advance(11)
    run = begin(deadline_seconds=60)
    with pytest.raises(RunExhausted, match="after waiting 60 s"):
        runs.wait(run, LeaseBusy("data is held by x"), next_try_at=clock.now() + timedelta(seconds=10))
    assert begin().error.code == "lease-busy"


def test_each_wait_after_work_has_its_full_time(runs, begin, clock):
    runs.wait(begin(), LeaseBusy("busy"), next_try_at=clock.now() + timedelta(seconds=50))
    clock.advance(50)
    run = begin()
    runs.handoff(run)
    clock.advance(100)
    step = begin(chain=run.chain)
    assert runs.wait(step, LeaseBusy("busy"), next_try_at=clock.now() + timedelta(seconds=50)).state is RunState.WAITING


def test_a_step_goes_on_after_a_handoff_without_costing_an_attempt(runs, begin, clock):
    run = begin()
    runs.handoff(run)
    step = begin(chain=run.chain, owner="w2", signature="a step's own")
    assert (step.attempt, step.chain) == (1, run.chain)
    assert step.record.signature == '{"s":1}'


def test_a_start_that_comes_again_stands_back_between_two_steps(runs, begin, clock):
    runs.handoff(begin())
    clock.advance(299)
    with pytest.raises(RunBusy, match="between two steps") as caught:
        begin()
    assert caught.value.retry_after_seconds == pytest.approx(1, abs=0.1)


def test_a_canvas_that_was_given_up_does_nothing_more(runs, begin, clock):
    old = begin()
    runs.handoff(old)
    clock.advance(301)
    new = begin()
    assert new.attempt == 2
    runs.handoff(new)
    with pytest.raises(LeaseLost, match="was given up"):
        begin(chain=old.chain)
    assert begin(chain=new.chain).chain == new.chain


def test_shards_at_work_keep_a_handoff_open(runs, begin, clock):
    run = begin()
    runs.handoff(run)
    clock.advance(290)
    assert runs.keep_open(TASK, SLOT, chain=run.chain)
    clock.advance(290)
    assert runs.dead() == []
    assert not runs.keep_open(TASK, SLOT, chain=run.chain + 1)


def test_a_superseded_run_is_never_begun(runs, begin):
    runs.supersede(TASK, SLOT, by="backup.run full")
    again = begin()
    assert (again.state, again.result) == (RunState.SUPERSEDED, {"superseded_by": "backup.run full"})


def test_a_run_at_work_cannot_be_superseded_nor_reset(runs, begin):
    begin()
    with pytest.raises(RunBusy):
        runs.supersede(TASK, SLOT, by="x")
    with pytest.raises(RunBusy):
        runs.reset(TASK, SLOT)


def test_a_run_that_is_done_is_not_superseded(runs, begin):
    runs.finish(begin(), 1)
    assert runs.supersede(TASK, SLOT, by="x").state is RunState.DONE


def test_only_the_first_message_of_a_slot_is_sent(runs):
    assert runs.queue(TASK, SLOT, signature="s")
    assert not runs.queue(TASK, SLOT, signature="s")


def test_live_runs_are_not_dead(runs, begin, clock):
    begin()
    clock.advance(10_000)
    assert runs.dead() == []


def test_a_dead_run_is_enqueued_again_by_one_reaper_only(runs, begin, kill):
    kill(begin())
    (seen_by_one,) = runs.dead()
    (seen_by_other,) = runs.dead()
    claimed = runs.mark_requeued(seen_by_one)
    assert (claimed.state, claimed.attempts, claimed.signature) == (RunState.QUEUED, 1, '{"s":1}')
    assert runs.mark_requeued(seen_by_other) is None
    assert runs.dead() == []
    assert begin().attempt == 2


def test_a_run_that_came_back_to_life_is_not_enqueued_again(runs, begin, kill):
    kill(begin())
    (seen,) = runs.dead()
    begin(owner="w2")
    assert runs.mark_requeued(seen) is None


def test_the_reaper_too_ends_a_run_at_the_cap(runs, begin, kill):
    for _ in range(2):
        kill(begin())
    kill(begin())
    (seen,) = runs.dead()
    assert runs.mark_requeued(seen).state is RunState.FAILED
    assert runs.dead() == []


def test_forgotten_waits_handoffs_and_messages_are_dead(runs, begin, clock):
    runs.wait(begin(), LeaseBusy("busy"), next_try_at=clock.now() + timedelta(seconds=10))
    runs.queue("cleanup.run", SLOT, signature="c")
    clock.advance(129)
    assert runs.dead() == []
    clock.advance(2)
    assert [(r.task, r.state) for r in runs.dead()] == [(TASK, RunState.WAITING)]
    runs.handoff(begin())
    clock.advance(301)
    assert [(r.task, r.state) for r in runs.dead()] == [(TASK, RunState.HANDOFF)]
    runs.finish(begin(), None)
    clock.advance(3600)
    assert [(r.task, r.state) for r in runs.dead()] == [("cleanup.run", RunState.QUEUED)]


def test_records_at_their_end_expire_and_open_ones_do_not(runs, begin, client):
    run = begin()
    assert client.ttl(f"g3zkp:run:{TASK}:{SLOT}") == -1
    runs.finish(run, None)
    assert 13.9 * 86400 < client.ttl(f"g3zkp:run:{TASK}:{SLOT}") <= 14 * 86400
    assert client.zcard("g3zkp:runs:open") == 0


def test_recent_runs_are_listed_by_task_latest_first(runs, clock):
    for minute in range(5):
        runs.queue("observe.health", f"2031-03-02T02:0{minute}Z", signature="s")
        runs.queue("cleanup.run", f"s{minute}", signature="s")
        clock.advance(60)
    assert [r.slot for r in runs.recent("observe.health", limit=2)] == ["2031-03-02T02:04Z", "2031-03-02T02:03Z"]
    assert len(runs.recent()) == 10


def test_a_change_whose_answer_was_lost_is_not_taken_for_anothers(runs, begin, client, monkeypatch):
    run = begin()
    real = client.evalsha
    monkeypatch.setattr(client, "evalsha", lambda *args: (real(*args), real(*args))[1])
    assert runs.finish(run, 1).state is RunState.DONE


@pytest.mark.parametrize(("task", "slot"), [("a:b", "s"), ("", "s"), ("t", ""), ("t", "a b")])
def test_unusable_names_are_refused(runs, task, slot):
    with pytest.raises(BadInput):
        runs.queue(task, slot, signature="s")


def test_a_result_that_is_not_json_is_refused_and_the_run_goes_on(runs, begin):
    run = begin()
    with pytest.raises(BadInput, match="not JSON"):
        runs.finish(run, {"when": object()})
    run.lease.verify()
    assert runs.finish(run, [1, "ä", None]).result == [1, "ä", None]
    assert runs.get(TASK, SLOT).result == [1, "ä", None]
