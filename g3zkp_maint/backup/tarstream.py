"""Tar members, written by hand: GNU format, which GNU tar, bsdtar, busybox and Python read.

Why not `tarfile`: its header takes 20 µs, and there may be a million; this takes 3. The GNU format rather than pax,
because its long names are plain bytes, so a name that is not UTF-8 stays what it was.
"""

from __future__ import annotations

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.row import Row, unescape

BLOCK = 512
END = bytes(2 * BLOCK)

_TYPE = {
    rows.FILE: b"0",
    rows.SPARSE: b"0",
    rows.HARDLINK: b"1",
    rows.SYMLINK: b"2",
    rows.FOLDER: b"5",
    rows.FIFO: b"6",
}
_NAME_LIMIT = 100
_NO_NAME = bytes(_NAME_LIMIT)


def header(row: Row, size: int) -> bytes:
    """The header blocks of a member whose content has `size` bytes; its path is that of the row."""
    name = unescape(row.path)
    if row.kind == rows.FOLDER:
        name += b"/"
    link = unescape(row.link) if row.link else b""
    if len(name) <= _NAME_LIMIT and len(link) <= _NAME_LIMIT:
        return _header(name, row, size, _TYPE[row.kind], link)
    long = b""
    if len(link) > _NAME_LIMIT:
        long += _long(link, b"K")
    if len(name) > _NAME_LIMIT:
        long += _long(name, b"L")
    return long + _header(name[:_NAME_LIMIT], row, size, _TYPE[row.kind], link[:_NAME_LIMIT])


def padding(size: int) -> bytes:
    """The zeros that fill the last block of `size` bytes of content."""
    return bytes(-size % BLOCK)


def _long(name: bytes, kind: bytes) -> bytes:
    body = name + b"\0"
    carrier = Row("././@LongLink", rows.FILE, 0o644, 0, 0, 0, 0, 0, 0)
    return _header(b"././@LongLink", carrier, len(body), kind, b"") + body + padding(len(body))


def _header(name: bytes, row: Row, size: int, kind: bytes, link: bytes) -> bytes:
    before = b"%b%07o\0%b%b%b%b" % (
        name.ljust(_NAME_LIMIT, b"\0"),
        row.mode & 0o7777,
        _number(row.uid, 8),
        _number(row.gid, 8),
        _number(size, 12),
        _number(max(row.mtime_ns, 0) // 1_000_000_000, 12),
    )
    after = kind + (link.ljust(_NAME_LIMIT, b"\0") if link else _NO_NAME) + b"ustar  \0"
    checksum = sum(before) + sum(after) + 8 * 32
    return (before + b"%06o\0 " % checksum + after).ljust(BLOCK, b"\0")


def _number(value: int, width: int) -> bytes:
    """Octal where it fits, else the base-256 of GNU tar."""
    if value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return b"\x80" + value.to_bytes(width - 1, "big")
