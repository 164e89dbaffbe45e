"""What an incremental does with each path, and where shards end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.plan import Decision, Kept, ShardCutter, Todo, compare
from g3zkp_maint.backup.row import Row, encode, walk_key

DIGEST = "d" * 64


def a_file(path: str = "a", **fields: object) -> Row:
    row = Row(path, rows.FILE, 0o644, 1, 1, 100, 10, 200, 5)
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def stored(path: str = "a", **fields: object) -> Row:
    return a_file(path, **({"digest": DIGEST, "archive": 3, "offset": 512} | fields))


def decide(now: list[Row], then: list[Row], immutable: bool = False) -> list[Decision]:
    before = iter([(row, encode(row)) for row in then])
    return list(compare(now, before, is_immutable=lambda path: immutable))


def test_what_did_not_change_keeps_the_parents_line() -> None:
    (decision,) = decide([a_file()], [stored()])
    assert decision == Kept(stored(), encode(stored()))


@pytest.mark.parametrize(
    "change",
    [
        {"size": 11},
        {"mtime_ns": 101},
        {"ctime_ns": 201},
        {"inode": 6},
        {"mode": 0o600},
        {"uid": 2},
        {"gid": 2},
        {"kind": rows.SPARSE},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_change_is_looked_at(change: dict[str, object]) -> None:
    (decision,) = decide([a_file(**change)], [stored()])
    assert isinstance(decision, Todo)


def test_a_file_of_the_same_size_brings_the_parents_digest_to_compare_with() -> None:
    (decision,) = decide([a_file(mtime_ns=101)], [stored()])
    assert (decision.row.digest, decision.row.archive, decision.row.offset) == (DIGEST, 3, 512)


def test_a_file_of_another_size_is_read_without_hope() -> None:
    (decision,) = decide([a_file(size=11)], [stored()])
    assert (decision.row.digest, decision.row.archive) == ("", rows.NO_ARCHIVE)


def test_a_row_that_was_not_to_be_trusted_is_looked_at_again() -> None:
    (decision,) = decide([a_file()], [stored(ctime_ns=0)])
    assert isinstance(decision, Todo)


def test_an_immutable_file_is_kept_with_its_new_times() -> None:
    (decision,) = decide([a_file(mtime_ns=999)], [stored()], immutable=True)
    assert isinstance(decision, Kept)
    assert decision.line == encode(stored(mtime_ns=999))


def test_an_immutable_name_with_another_size_is_read() -> None:
    (decision,) = decide([a_file(size=11)], [stored()], immutable=True)
    assert isinstance(decision, Todo)


def test_a_link_that_points_elsewhere_now_is_done_again() -> None:
    def link(target: str) -> Row:
        return a_file(kind=rows.SYMLINK, size=0, link=target)

    (decision,) = decide([link("new")], [link("old")])
    assert decision == Todo(link("new"))


@pytest.mark.parametrize("kind", [rows.FOLDER, rows.SYMLINK, rows.FIFO, rows.HARDLINK])
def test_content_is_not_taken_from_another_kind_of_thing(kind: str) -> None:
    (decision,) = decide([a_file()], [a_file(kind=kind)])
    assert decision == Todo(a_file())


def test_what_is_left_out_is_told_by_each_backup_anew() -> None:
    socket = a_file(kind=rows.LEFT_OUT, size=0, link="socket")
    (decision,) = decide([socket], [socket])
    assert isinstance(decision, Todo)


PATHS = st.lists(
    st.text("ab./-", min_size=1, max_size=8).filter(lambda p: p[0] != "/" and p[-1] != "/" and "//" not in p),
    unique=True,
)


def in_walk_order(paths: list[str]) -> list[str]:
    return sorted(paths, key=walk_key)


@given(PATHS, PATHS, st.sets(st.text("ab./-", max_size=8)))
def test_the_decisions_are_exactly_the_current_paths_in_their_order(
    now: list[str], then: list[str], touched: set[str]
) -> None:
    current = [a_file(path, mtime_ns=101 if path in touched else 100) for path in in_walk_order(now)]
    before = [stored(path) for path in in_walk_order(then)]
    lines = {row.path: encode(row) for row in before}
    decisions = decide(current, before)
    assert [decision.row.path for decision in decisions] == in_walk_order(now)
    for decision in decisions:
        path = decision.row.path
        assert isinstance(decision, Kept) == (path in lines and path not in touched)
        if isinstance(decision, Kept):
            assert decision.line == lines[path]


def test_comparing_holds_no_more_than_a_row_of_each() -> None:
    taken = 0

    def before() -> Iterator[tuple[Row, bytes]]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield stored(f"f{number:04d}"), b""

    decisions = compare((a_file(f"f{n:04d}") for n in range(1000)), before(), is_immutable=lambda path: False)
    for number, _ in zip(range(10), decisions, strict=False):
        assert taken <= number + 2


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 1000), st.integers(1, 50))
def test_shards_hold_every_row_once_and_are_closed_by_the_row_that_fills_them(
    sizes: list[int], weight: int, per_file: int
) -> None:
    cutter, shards = ShardCutter(weight, per_file), []
    for number, size in enumerate(sizes):
        if full := cutter.add(a_file(f"{number}", size=size)):
            shards.append(full)
    last = cutter.close()
    listed = [line for shard in [*shards, last or []] for line in shard]
    assert listed == [encode(a_file(f"{n}", size=size)) for n, size in enumerate(sizes)]
    rest = iter(sizes)
    for shard in shards:
        weights = [next(rest) + per_file for _ in shard]
        assert sum(weights) >= weight > sum(weights[:-1])
    assert sum(size + per_file for size in rest) < weight


def test_a_cutter_that_was_given_nothing_closes_nothing() -> None:
    assert ShardCutter(100, 1).close() is None
