"""Rows of the index: the escape, the lines, the order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.row import Row, encode, escape, lines, read_rows, read_rows_raw, unescape, walk_key
from g3zkp_maint.backup.scan import scan

NAMES = st.binary(min_size=1, max_size=12).filter(lambda raw: not {0, 47} & set(raw) and raw not in {b".", b".."})
TREES = st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=12)


def a_row(path: str) -> Row:
    return Row(path, rows.FILE, 0o644, 1, 2, 3, 4, 5, 6, "d" * 64, 7, 8)


@given(st.binary())
def test_every_path_is_escaped_and_read_back(raw: bytes) -> None:
    text = escape(raw)
    assert unescape(text) == raw
    text.encode("utf-8")  # it can be written as JSON: no lone surrogates


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=20), st.integers(1, 50))
def test_rows_survive_lines_cut_anywhere(paths: list[bytes], cut: int) -> None:
    listed = [a_row(escape(path)) for path in paths]
    raw = b"".join(encode(row) + b"\n" for row in listed)
    chunks = [raw[i : i + cut] for i in range(0, len(raw), cut)]
    assert list(read_rows(chunks)) == listed
    assert [line for _, line in read_rows_raw(chunks)] == [encode(row) for row in listed]
    assert b"".join(lines(chunks)) == raw


def test_a_line_is_the_documented_array() -> None:
    assert json.loads(encode(a_row("a"))) == ["a", "f", 420, 1, 2, 3, 4, 5, 6, "d" * 64, 7, 8, ""]


def test_a_line_that_is_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        list(read_rows([b'["a","f"]\n']))


@given(TREES)
def test_the_walk_is_in_the_order_of_its_keys(
    tmp_path_factory: pytest.TempPathFactory, tree: list[list[bytes]]
) -> None:
    root = tmp_path_factory.mktemp("walk")
    (root / "top").mkdir()
    for steps in tree:
        _make(root / "top", steps)
    keys = [walk_key(row.path) for row in scan(root, "top")]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def _make(top: Path, steps: list[bytes]) -> None:
    folder = top
    for step in steps[:-1]:
        folder = folder / step.decode("utf-8", "surrogateescape")
        if folder.is_file():
            return
        folder.mkdir(exist_ok=True)
    last = folder / steps[-1].decode("utf-8", "surrogateescape")
    if not last.exists():
        last.write_bytes(b"")
