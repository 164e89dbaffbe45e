"""What differs between two lists of files."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.diff import Change, differences
from g3zkp_maint.backup.row import Row, walk_key


def file(path: str, digest: str = "d", size: int = 5, **other: object) -> Row:
    return msgspec.structs.replace(Row(path, rows.FILE, 0o644, 0, 0, 1, size, 0, 0, digest, 0), **other)


def told(before: list[Row], after: list[Row]) -> list[tuple[str, str]]:
    return [(str(one.change), one.path) for one in differences(before, after)]


def test_each_sort_of_change_is_told_apart() -> None:
    before = [file("a"), file("b"), file("c"), file("d")]
    after = [file("a"), file("b", "other", 9), file("c", mode=0o600), file("e")]
    assert told(before, after) == [("content", "b"), ("metadata", "c"), ("removed", "d"), ("added", "e")]
    (content, *_) = differences(before, after)
    assert (content.before, content.after) == (5, 9)


def test_where_content_is_stored_makes_no_difference() -> None:
    assert told([file("a")], [file("a", archive=7, offset=99, inode=5, ctime_ns=8, kind=rows.SPARSE)]) == []


def test_another_kind_or_another_target_is_other_content() -> None:
    link = file("a", "", 0, kind=rows.SYMLINK, link="x")
    assert told([file("a")], [link]) == [("content", "a")]
    assert told([link], [msgspec.structs.replace(link, link="y")]) == [("content", "a")]


def test_a_hard_link_of_another_name_is_metadata() -> None:
    link = file("b", "", 0, kind=rows.HARDLINK, link="a")
    assert told([link], [msgspec.structs.replace(link, link="aa")]) == [("metadata", "b")]


def test_what_both_left_out_is_no_difference_and_what_one_left_out_is_unknown() -> None:
    left_out = file("a", "", 0, kind=rows.LEFT_OUT, link="vanished")
    assert told([left_out], [left_out]) == []
    assert told([left_out], [file("a")]) == [("content", "a")]


def test_walk_order_is_not_the_order_of_texts() -> None:
    before = [file("a", kind=rows.FOLDER), file("a/x"), file("a-b")]
    assert told(before, before) == []
    assert told(before, [before[0], before[2]]) == [("removed", "a/x")]


_PATHS = st.lists(st.text("ab-/", min_size=1, max_size=4), unique=True, max_size=12)


@given(_PATHS, _PATHS)
def test_every_path_is_told_once_and_rightly(before: list[str], after: list[str]) -> None:
    left, right = ([file(path) for path in sorted(paths, key=walk_key)] for paths in (before, after))
    found = {one.path: one.change for one in differences(left, right)}
    expected = dict.fromkeys(set(before) - set(after), Change.REMOVED)
    assert found == expected | dict.fromkeys(set(after) - set(before), Change.ADDED)
