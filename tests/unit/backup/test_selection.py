"""Which paths a glob selects, and what comes with them."""

from __future__ import annotations

import os

import pytest

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.row import Row, escape
from g3zkp_maint.backup.selection import Selected, Selection, select_rows
from g3zkp_maint.errors import BadInput, ManifestInvalid


def file(path: str, digest: str = "d", *, kind: str = rows.FILE, link: str = "") -> Row:
    has_content = kind in rows.WITH_CONTENT
    return Row(path, kind, 0o644, 0, 0, 0, 7 if has_content else 0, 0, 0, digest, 3 if has_content else -1, 512, link)


def chosen(listed: list[Row], *patterns: str) -> Selected:
    copies = [rows.encode(row) + b"\n" for row in listed]
    return select_rows("ipfs", lambda: rows.read_rows(copies), Selection(patterns))


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("ipfs/blocks/AB/*", "ipfs/blocks/AB/x.data", True),
        ("ipfs/blocks/AB/*", "ipfs/blocks/AB", False),
        ("ipfs/blocks/AB/*", "ipfs/blocks/ABC/x", False),
        ("ipfs/*", "ipfs/blocks/AB/x.data", True),
        ("ipfs/*.data", "ipfs/blocks/x.data", False),
        ("ipfs/*/x", "ipfs/a/b/x", False),
        ("ipfs/**/x", "ipfs/a/b/x", True),
        ("ipfs/**/x", "ipfs/x", True),
        ("**/x", "ipfs/a/x", True),
        ("ipfs/**", "ipfs/a/b", True),
        ("keys", "keys/identity", True),
        ("keys/", "keys", True),
        ("keys", "keys2", False),
        ("i?fs", "ipfs", True),
        ("ipfs?blocks", "ipfs/blocks", False),
        ("a[bc]", "ab", True),
        ("a[!bc]", "ab", False),
        ("a[!b]c", "a/c", False),
        ("a[0-9]", "a7", True),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("a[]", "a[]", True),
        ("a.c", "abc", False),
        ("a/*", "a/.hidden", True),
        ("a/*", "a/two\nlines", True),
    ],
)
def test_a_glob_stands_for_what_it_matches_and_all_below(pattern: str, path: str, matches: bool) -> None:
    assert Selection([pattern]).matches(path) is matches


def test_names_that_are_no_utf8_are_matched_by_their_bytes() -> None:
    path = escape(b"ipfs/caf\xe9\\x")
    assert Selection(["ipfs/caf?*"]).matches(path)
    assert Selection([os.fsdecode(b"ipfs/caf\xe9\\\\x")]).matches(path)
    assert not Selection(["ipfs/caf?"]).matches(path)


@pytest.mark.parametrize("pattern", ["/data/ipfs", "../keys", "ipfs/./x", "a//b", "", "/", "a\0"])
def test_a_pattern_that_leads_out_or_nowhere_is_refused(pattern: str) -> None:
    with pytest.raises(BadInput, match="relative to the messenger's data folder"):
        Selection([pattern])


def test_a_class_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="no class of characters"):
        Selection(["a[z-a]"])


def test_several_globs_select_what_any_of_them_does() -> None:
    listed = [file("i", kind=rows.FOLDER), file("i/a"), file("i/b"), file("i/c")]
    assert [row.path for row in chosen(listed, "i/a", "i/[c]").rows] == ["i/a", "i/c"]


def test_the_folders_around_are_told_apart() -> None:
    listed = [
        file("i", kind=rows.FOLDER),
        file("i/a", kind=rows.FOLDER),
        file("i/a/b", kind=rows.FOLDER),
        file("i/a/b/c"),
        file("i/z", kind=rows.FOLDER),
    ]
    found = chosen(listed, "i/a/b")
    assert [row.path for row in found.rows] == ["i/a/b", "i/a/b/c"]
    assert [row.path for row in found.parents] == ["i", "i/a"]
    assert (found.archives, found.bytes) == ({3}, 7)


def test_a_link_whose_first_path_is_selected_stays_a_link() -> None:
    listed = [file("i/a"), file("i/b", "", kind=rows.HARDLINK, link="i/a")]
    assert [row.kind for row in chosen(listed, "i/*").rows] == [rows.FILE, rows.HARDLINK]


def test_links_whose_first_path_is_not_selected_are_a_file_of_their_own() -> None:
    links = [file(f"i/{name}", "", kind=rows.HARDLINK, link="i/a") for name in "bc"]
    first, second = chosen([file("i/a", "content"), *links], "i/[bc]").rows
    assert (first.kind, first.digest, first.archive, first.offset, first.size) == (rows.FILE, "content", 3, 512, 7)
    assert (second.kind, second.link) == (rows.HARDLINK, "i/b")


def test_a_link_to_nothing_is_no_index_of_ours() -> None:
    with pytest.raises(ManifestInvalid, match="no file of it"):
        chosen([file("i/b", "", kind=rows.HARDLINK, link="i/a")], "i/b")
