"""The journal: complete, in order, and nothing in it can be altered unseen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis

from g3zkp_maint.coordination import Journal, JournalEvent, keys
from g3zkp_maint.coordination import journal as module
from g3zkp_maint.errors import BadInput, LeaseLost, StoreUnavailable


@pytest.fixture
def journal(client, clock):
    return Journal(client, clock=clock, cap=100_000)


def event(word="note", **fields):
    return JournalEvent(word, **{"run": "r1", "task": "backup.run", "slot": "s", **fields})


def test_an_event_is_read_back_as_it_was_written(journal, clock):
    written = event(
        "finished",
        step="seal",
        at=clock.now(),
        bytes=12,
        attempt=2,
        owner="w1",
        outcome="ok",
        detail={"a": 1.5, "b": None},
    )
    journal.write(written)
    (record,) = journal.read()
    assert (record.number, record.before, record.event) == (1, "", written)


def test_a_step_tells_its_start_its_end_bytes_and_seconds(journal, clock):
    with journal.step("r1", "backup.run", "s", "archive", attempt=1) as step:
        clock.advance(2.5)
        step.bytes = 77
        step.note(files=3)
    started, finished = (record.event for record in journal.read())
    assert (started.event, finished.event, finished.bytes, finished.outcome) == ("started", "finished", 77, "ok")
    assert finished.detail == {"files": 3, "seconds": 2.5}


@pytest.mark.parametrize(
    ("error", "word", "outcome"),
    [
        (StoreUnavailable("no answer"), "failed", "store-unavailable"),
        (LeaseLost("gone"), "lease-lost", "lease-lost"),
        (KeyError("hunter2"), "failed", "unexpected"),
        (KeyboardInterrupt(), "failed", "unexpected"),
    ],
)
def test_a_step_that_fails_says_how_and_lets_the_error_pass(journal, error, word, outcome):
    with pytest.raises(type(error)), journal.step("r1", "backup.run", "s", "archive"):
        raise error
    *_, last = journal.read()
    assert (last.event.event, last.event.outcome) == (word, outcome)
    assert "hunter2" not in str(last.event)


def test_records_are_found_by_task_run_and_time(journal, client):
    for n in range(6):
        journal.write(event(run=f"r{n % 2}", task="cleanup.run" if n > 3 else "backup.run", slot=str(n)))
    assert [r.event.slot for r in journal.read(run="r1")] == ["1", "3", "5"]
    assert [r.event.slot for r in journal.read(task="cleanup.run", reverse=True)] == ["5", "4"]
    assert [r.event.slot for r in journal.read(limit=2)] == ["0", "1"]
    last_id = client.xrevrange(keys.JOURNAL, count=1)[0][0]
    after = datetime.fromtimestamp(int(last_id.split("-")[0]) / 1000, UTC) + timedelta(seconds=1)
    assert list(journal.read(since=after)) == []
    assert len(list(journal.read(since=after - timedelta(hours=1)))) == 6


def test_long_journals_are_read_in_batches_both_ways(journal, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 3)
    for n in range(10):
        journal.write(event(slot=str(n)))
    expected = [str(n) for n in range(10)]
    assert [r.event.slot for r in journal.read()] == expected
    assert [r.event.slot for r in journal.read(reverse=True)] == expected[::-1]
    assert journal.verify().is_whole
    assert journal.verify().records == 10


def rewrite(client, change):
    """The stream written anew, with the same ids, by one who can reach Redis and nothing else."""
    entries = change(client.xrange(keys.JOURNAL))
    client.delete(keys.JOURNAL)
    for id_, fields in entries:
        client.xadd(keys.JOURNAL, fields, id=id_)


def changed(entries, index, **fields):
    return [(id_, {**old, **fields} if n == index else old) for n, (id_, old) in enumerate(entries)]


@pytest.mark.parametrize(
    ("change", "broken_number"),
    [
        pytest.param(lambda e: changed(e, 2, outcome="ok"), 4, id="a field changed"),
        pytest.param(lambda e: changed(e, 4, outcome="ok"), None, id="the last one changed"),
        pytest.param(lambda e: e[:2] + e[3:], 4, id="one removed"),
        pytest.param(lambda e: e[:-1], None, id="the last one removed"),
        pytest.param(lambda e: e[1:], 2, id="the first one removed"),
        pytest.param(lambda e: [(e[0][0], e[1][1]), (e[1][0], e[0][1]), *e[2:]], 2, id="two exchanged"),
        pytest.param(lambda e: [], None, id="all removed"),
    ],
)
def test_what_was_altered_is_found(journal, client, change, broken_number):
    for n in range(5):
        journal.write(event(slot=str(n), outcome="failed"))
    assert journal.verify().is_whole
    rewrite(client, change)
    audit = journal.verify()
    assert not audit.is_whole
    found = dict(client.xrange(keys.JOURNAL)).get(audit.broken_id, {}).get("number")
    assert found == (None if broken_number is None else str(broken_number))


def test_a_forged_record_at_the_end_does_not_enter_the_chain(journal, client):
    journal.write(event(slot="1"))
    forged = {**client.xrange(keys.JOURNAL)[0][1], "number": "2", "before": client.hget(keys.JOURNAL_HEAD, "digest")}
    client.xadd(keys.JOURNAL, forged)
    assert "some were added" in journal.verify().reason
    journal.write(event(slot="2"))
    assert not journal.verify().is_whole


def test_the_buffer_keeps_order_while_redis_is_away_and_tells_what_fell_out(journal, client, monkeypatch):
    monkeypatch.setattr(module, "BUFFERED", 3)
    journal.write(event(slot="before"))

    def away(*args, **options):
        raise redis.ConnectionError("Connection refused")

    monkeypatch.setattr(client, "evalsha", away)
    for n in range(5):
        journal.write(event(slot=f"away-{n}"))
    monkeypatch.delattr(client, "evalsha")
    journal.write(event(slot="after"))
    told = [(r.event.event, r.event.slot) for r in journal.read()]
    assert told == [
        ("note", "before"),
        ("records-dropped", "away-3"),
        ("note", "away-3"),
        ("note", "away-4"),
        ("note", "after"),
    ]
    assert list(journal.read())[1].event.detail == {"dropped": 3}
    assert journal.verify().is_whole


def test_a_record_whose_answer_was_lost_is_there_once(journal, client, monkeypatch):
    real = client.evalsha
    monkeypatch.setattr(client, "evalsha", lambda *args: (real(*args), real(*args))[1])
    journal.write(event())
    assert len(list(journal.read())) == 1
    assert journal.verify().is_whole


@pytest.mark.parametrize("value", [["a"], {"b": 1}, b"bytes", float("nan"), object()])
def test_details_are_scalars(value):
    with pytest.raises(BadInput, match="detail 'x'"):
        event(detail={"x": value})


def test_long_texts_are_cut_and_many_details_refused():
    assert len(event(detail={"x": "y" * 10_000}).detail["x"]) == 500
    with pytest.raises(BadInput, match="at most"):
        event(detail={str(n): n for n in range(100)})
    with pytest.raises(BadInput, match="a word"):
        event("Not A Word")
