"""The chain of manifests: what was removed or replaced shows, and nothing else does."""

from __future__ import annotations

import pytest

from g3zkp_maint.backup.chain import Break, Link, breaks
from g3zkp_maint.backup.manifest import Previous


def link(name: str, *, after: str | None = None, digest: str | None = None) -> Link:
    """`name` was made when `after` was the newest; digests are `sha of <name>` unless another one is given."""
    previous = Previous(name=after, sha256=f"sha of {after}") if after else None
    return Link(name, digest or f"sha of {name}", previous)


A, B, C = link("a"), link("b", after="a"), link("c", after="b")


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ([], ()),
        ([A, B, C], ()),
        ([C, A, B], ()),
        ([A, B, link("c", after="a")], ()),
        ([A, C], (Break("c", "b", is_removed=True),)),
        ([B, C], (Break("b", "a", is_removed=True),)),
        ([A, link("b", after="a", digest="other"), C], (Break("c", "b", is_removed=False),)),
        ([link("a", digest="other"), C], (Break("c", "b", is_removed=True),)),
    ],
    ids=[
        "nothing",
        "whole",
        "any order",
        "two made after the same one",
        "one removed",
        "the first removed",
        "one replaced",
        "a replaced one nobody points to",
    ],
)
def test_a_removed_or_replaced_backup_shows_in_the_next(links: list[Link], expected: tuple[Break, ...]) -> None:
    assert breaks(links) == expected


def test_one_that_is_not_believed_has_no_say_and_is_still_checked() -> None:
    unbelieved = Link("b", "changed", None)
    assert breaks([A, unbelieved, C]) == (Break("c", "b", is_removed=False),)


def test_a_break_says_which_backup_shows_it() -> None:
    assert str(breaks([C])[0]) == "c was made after b, which is no longer in the store"
    assert "was replaced or changed since" in str(breaks([Link("b", "x", None), C])[0])
