"""Tar members as other programs read them."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup import tarstream
from g3zkp_maint.backup.row import Row, escape

RAW = st.binary(min_size=1, max_size=600).filter(lambda raw: not {0, 47} & set(raw))


def parsed(header: bytes) -> tarfile.TarInfo:
    """As Python's own reader sees it; a header alone says how large its content would be."""
    stream = io.BytesIO(header)
    with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        return tar.tarinfo.fromtarfile(tar) if tar.firstmember is None else tar.firstmember


def a_row(raw: bytes, kind: str = rows.FILE, **fields: object) -> Row:
    row = Row(escape(raw), kind, 0o644, 1000, 1000, 1_700_000_000_123_456_789, 0, 0, 0)
    for name, value in fields.items():
        setattr(row, name, value)
    return row


@given(RAW)
def test_every_name_is_read_back_by_another_program(raw: bytes) -> None:
    raw = raw.rstrip(b"/")
    assert parsed(tarstream.header(a_row(raw), 0)).name.encode("utf-8", "surrogateescape") == raw


@given(RAW, RAW)
def test_every_link_target_is_read_back_by_another_program(raw: bytes, target: bytes) -> None:
    found = parsed(tarstream.header(a_row(raw, rows.SYMLINK, link=escape(target)), 0))
    assert found.issym()
    assert found.linkname.encode("utf-8", "surrogateescape") == target


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 9 << 30, 1 << 50])
def test_sizes_beyond_eight_gigabytes_are_read_back(size: int) -> None:
    assert parsed(tarstream.header(a_row(b"a"), size)).size == size


@pytest.mark.parametrize("number", [0, 2_097_151, 2_097_152, 2**31, 2**32 - 2])
def test_owners_beyond_the_octal_field_are_read_back(number: int) -> None:
    found = parsed(tarstream.header(a_row(b"a", uid=number, gid=number), 0))
    assert (found.uid, found.gid) == (number, number)


def test_mode_and_time_are_read_back() -> None:
    found = parsed(tarstream.header(a_row(b"a", mode=0o6755), 0))
    assert (found.mode, found.mtime) == (0o6755, 1_700_000_000)


def test_a_time_before_1970_is_no_broken_header() -> None:
    assert parsed(tarstream.header(a_row(b"a", mtime_ns=-1), 0)).mtime == 0


@pytest.mark.parametrize(
    ("kind", "type"),
    [
        (rows.FILE, tarfile.REGTYPE),
        (rows.SPARSE, tarfile.REGTYPE),
        (rows.FOLDER, tarfile.DIRTYPE),
        (rows.SYMLINK, tarfile.SYMTYPE),
        (rows.HARDLINK, tarfile.LNKTYPE),
        (rows.FIFO, tarfile.FIFOTYPE),
    ],
)
def test_each_kind_is_the_kind_that_tar_knows(kind: str, type: bytes) -> None:
    link = "target" if kind in {rows.SYMLINK, rows.HARDLINK} else ""
    assert parsed(tarstream.header(a_row(b"a" * 99, kind, link=link), 0)).type == type


@given(st.integers(0, 5000))
def test_padding_ends_at_a_block(size: int) -> None:
    assert (size + len(tarstream.padding(size))) % tarstream.BLOCK == 0
    assert len(tarstream.padding(size)) < tarstream.BLOCK
