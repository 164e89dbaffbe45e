"""The journal in a real Valkey: written by many at once, capped, cut off, and audited."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination import Journal, JournalEvent, connect, keys

pytestmark = pytest.mark.integration


def event(slot: str) -> JournalEvent:
    return JournalEvent("note", "r1", "backup.run", slot)


def test_many_writers_at_once_make_one_chain(client):
    journals = [Journal(client, clock=SystemClock(), cap=100_000) for _ in range(4)]

    def write(n: int) -> None:
        for i in range(25):
            journals[n].write(event(f"{n}-{i}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    audit = journals[0].verify()
    assert (audit.is_whole, audit.records) == (True, 100)
    by_writer = [r.event.slot for r in journals[0].read() if r.event.slot.startswith("2-")]
    assert by_writer == [f"2-{i}" for i in range(25)]


def test_what_the_cap_takes_is_no_break_and_what_others_take_is(client):
    journal = Journal(client, clock=SystemClock(), cap=100)
    for n in range(400):
        journal.write(event(str(n)))
    assert 100 <= client.xlen(keys.JOURNAL) < 400
    audit = journal.verify()
    assert (audit.is_whole, audit.records) == (True, client.xlen(keys.JOURNAL))

    client.xdel(keys.JOURNAL, client.xrange(keys.JOURNAL, count=1)[0][0])
    assert not journal.verify().is_whole
    for n in range(300):
        journal.write(event(f"later-{n}"))
    assert not journal.verify().is_whole


def test_records_written_while_redis_is_away_come_in_order_afterwards(valkey, redis_url):
    journal = Journal(connect(redis_url), clock=SystemClock(), cap=1000)
    journal.write(event("before"))
    valkey.stop()
    journal.write(event("away"))
    valkey.start()
    journal.write(event("after"))
    assert [r.event.slot for r in journal.read()] == ["before", "away", "after"]
    assert journal.verify().is_whole
