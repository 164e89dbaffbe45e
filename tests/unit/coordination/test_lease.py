"""What leases promise, with the clock in the test's hand. Redis is fakeredis, which runs the real Lua."""

from __future__ import annotations

import time

import pytest
import redis

from g3zkp_maint.coordination import AllOf, Mode, Unguarded
from g3zkp_maint.errors import BadInput, CoordinationUnavailable, LeaseBusy, LeaseLost

SHARED, EXCLUSIVE = Mode.SHARED, Mode.EXCLUSIVE


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [(SHARED, SHARED, True), (SHARED, EXCLUSIVE, False), (EXCLUSIVE, SHARED, False), (EXCLUSIVE, EXCLUSIVE, False)],
)
def test_only_shared_holders_get_on_with_each_other(acquire, first, second, together):
    acquire({"data": first}, owner="one")
    if together:
        assert acquire({"data": second}, owner="two").tokens.keys() == {"data"}
        return
    with pytest.raises(LeaseBusy, match=r"'data': it is held by one \("):
        acquire({"data": second}, owner="two")


def test_several_resources_are_taken_all_or_none(acquire, leases):
    acquire({"keys": EXCLUSIVE}, owner="rotation")
    with pytest.raises(LeaseBusy, match="'keys'"):
        acquire({"data": SHARED, "keys": EXCLUSIVE, "store": SHARED}, owner="restore")
    assert [(h.resource, h.owner) for h in leases.holders()] == [("keys", "rotation")]


def test_holders_are_listed_with_mode_token_and_expiry(acquire, leases):
    lease = acquire({"data": SHARED, "workload": EXCLUSIVE}, owner="one")
    data, workload = leases.holders()
    assert (data.resource, data.mode, data.owner, data.token) == ("data", SHARED, "one", lease.tokens["data"])
    assert (workload.resource, workload.mode) == ("workload", EXCLUSIVE)
    assert 59 <= (data.expires - data.since).total_seconds() <= 61


def test_tokens_rise_with_every_acquisition_also_after_redis_has_lost_its_data(acquire, client):
    first = acquire({"data": EXCLUSIVE}, owner="one").token
    second = acquire({"data": EXCLUSIVE}, owner="one").token
    assert second == first + 1
    while time.time_ns() // 1_000_000 <= second:  # the fence starts anew at the server's millisecond
        pass
    client.flushall()
    assert acquire({"data": EXCLUSIVE}, owner="two").token > second


def test_fences_never_expire_and_a_family_of_resources_shares_one(acquire, client):
    first = acquire({"run:backup.run:a": EXCLUSIVE}, owner="one").token
    second = acquire({"run:backup.run:b": EXCLUSIVE}, owner="two").token
    assert second > first
    assert client.keys("g3zkp:fence:*") == ["g3zkp:fence:run"]
    assert client.ttl("g3zkp:fence:run") == -1


def test_the_same_owner_takes_over_and_its_older_lease_is_lost(acquire, leases):
    old = acquire({"data": EXCLUSIVE}, owner="run-7")
    new = acquire({"data": EXCLUSIVE}, owner="run-7")
    assert new.token > old.token
    with pytest.raises(LeaseLost, match="taken over"):
        old.verify()
    with pytest.raises(LeaseLost):
        old.ensure_held()
    new.verify()
    assert len(leases.holders()) == 1


def test_a_stale_release_frees_nobody_elses_lease(acquire, leases):
    old = acquire({"data": EXCLUSIVE}, owner="run-7")
    new = acquire({"data": EXCLUSIVE}, owner="run-7")
    old.release()
    assert [h.token for h in leases.holders()] == [new.token]
    new.verify()


def test_ensure_held_raises_once_the_local_clock_has_passed_the_time_to_live(acquire, clock):
    lease = acquire({"data": EXCLUSIVE}, owner="one")
    clock.advance(59.9)
    lease.ensure_held()
    clock.advance(0.1)
    with pytest.raises(LeaseLost, match="not renewed within its time to live"):
        lease.ensure_held()


def test_a_lost_lease_stays_lost(acquire, clock):
    lease = acquire({"data": EXCLUSIVE}, owner="one")
    clock.advance(61)
    with pytest.raises(LeaseLost):
        lease.verify()
    clock.seconds -= 61
    with pytest.raises(LeaseLost):
        lease.ensure_held()


def test_nothing_may_be_done_under_a_lease_that_was_given_back(acquire):
    with acquire({"data": SHARED}, owner="one") as lease:
        lease.ensure_held()
    with pytest.raises(LeaseLost, match="given back"):
        lease.ensure_held()


def test_a_broken_lease_is_noticed_by_verify(acquire, leases):
    lease = acquire({"data": SHARED}, owner="one")
    assert leases.break_("data") == 1
    lease.ensure_held()
    with pytest.raises(LeaseLost, match="'data'"):
        lease.verify()


def test_verify_trusts_the_time_to_live_while_redis_is_away(acquire, client, clock, monkeypatch):
    lease = acquire({"data": SHARED}, owner="one")

    def away(*args, **options):
        raise redis.ConnectionError("Connection refused")

    monkeypatch.setattr(client, "evalsha", away)
    lease.verify()
    clock.advance(60)
    with pytest.raises(LeaseLost):
        lease.verify()


def test_a_failing_release_does_not_hide_the_first_error(acquire, client, monkeypatch):
    lease = acquire({"data": SHARED}, owner="one")

    def away(*args, **options):
        raise redis.TimeoutError("no answer")

    with pytest.raises(ZeroDivisionError), lease:  # noqa: PT012 - the release at the end is what is tested
        monkeypatch.setattr(client, "evalsha", away)
        raise ZeroDivisionError
    monkeypatch.undo()


def test_acquiring_without_redis_says_so(acquire, client, monkeypatch):
    def away(*args, **options):
        raise redis.ConnectionError("Connection refused")

    monkeypatch.setattr(client, "evalsha", away)
    with pytest.raises(CoordinationUnavailable, match="take the lease on data"):
        acquire({"data": SHARED}, owner="one")


def test_an_exclusive_waiter_is_served_before_later_shared_ones(acquire):
    reader = acquire({"data": SHARED}, owner="reader-1")
    with pytest.raises(LeaseBusy):
        acquire({"data": EXCLUSIVE}, owner="cleanup")
    with pytest.raises(LeaseBusy, match="is waited for, earlier, by cleanup"):
        acquire({"data": SHARED}, owner="reader-2")
    reader.release()
    with pytest.raises(LeaseBusy):
        acquire({"data": SHARED}, owner="reader-2")
    acquire({"data": EXCLUSIVE}, owner="cleanup").release()
    acquire({"data": SHARED}, owner="reader-2")


def test_waiting_is_first_come_first_served(acquire):
    holder = acquire({"data": EXCLUSIVE}, owner="holder")
    for owner in ("first", "second"):
        with pytest.raises(LeaseBusy):
            acquire({"data": EXCLUSIVE}, owner=owner)
    holder.release()
    with pytest.raises(LeaseBusy, match="earlier, by first"):
        acquire({"data": EXCLUSIVE}, owner="second")
    acquire({"data": EXCLUSIVE}, owner="first")


def test_a_waiter_holds_back_only_what_conflicts_with_it(acquire):
    acquire({"keys": EXCLUSIVE}, owner="rotation")
    with pytest.raises(LeaseBusy):
        acquire({"keys": EXCLUSIVE, "data": SHARED}, owner="restore")
    acquire({"data": SHARED}, owner="backup")
    acquire({"store": EXCLUSIVE}, owner="prune")


def test_an_owner_can_resume_what_others_wait_for(acquire):
    acquire({"data": SHARED}, owner="backup")
    with pytest.raises(LeaseBusy):
        acquire({"data": EXCLUSIVE}, owner="cleanup")
    acquire({"data": SHARED}, owner="backup").verify()


def test_a_place_given_up_holds_nobody_back(acquire, leases):
    acquire({"data": SHARED}, owner="reader-1")
    with pytest.raises(LeaseBusy):
        acquire({"data": EXCLUSIVE}, owner="cleanup")
    leases.withdraw(["data"], owner="cleanup")
    acquire({"data": SHARED}, owner="reader-2")


def test_who_does_not_queue_holds_nobody_back(acquire):
    acquire({"data": SHARED}, owner="reader-1")
    with pytest.raises(LeaseBusy):
        acquire({"data": EXCLUSIVE}, owner="probe", queue=False)
    acquire({"data": SHARED}, owner="reader-2")


@pytest.mark.parametrize("wants", [{}, {"a b": SHARED}, {"": SHARED}, {"ä": SHARED}])
def test_unusable_wants_are_refused(acquire, wants):
    with pytest.raises(BadInput):
        acquire(wants, owner="one")


def test_all_of_several_guards_must_be_held(acquire, clock):
    lease = acquire({"data": SHARED}, owner="one")
    both = AllOf(Unguarded(), lease)
    both.ensure_held()
    both.verify()
    lease.release()
    with pytest.raises(LeaseLost):
        both.ensure_held()
    with pytest.raises(LeaseLost):
        both.verify()
