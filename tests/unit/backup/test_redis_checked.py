"""A Redis dump is passed on whole or refused."""

from __future__ import annotations

import random

import anycrc
import pytest

from g3zkp_maint.backup.redis_dump import checked
from g3zkp_maint.errors import SourceError


def a_dump(magic: bytes = b"REDIS0011", size: int = 5000, crc: int | None = None) -> bytes:
    body = magic + random.Random(3).randbytes(size) + b"\xff"
    checksum = anycrc.Model("CRC64-REDIS").calc(body) if crc is None else crc
    return body + checksum.to_bytes(8, "little")


def cut(raw: bytes, size: int) -> list[bytes]:
    return [raw[i : i + size] for i in range(0, len(raw), size)]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 100, 4999, 100_000])
@pytest.mark.parametrize("magic", [b"REDIS0011", b"REDIS0006", b"VALKEY080"])
def test_a_whole_dump_passes_in_pieces_of_any_size(magic: bytes, size: int) -> None:
    raw = a_dump(magic)
    assert b"".join(checked(cut(raw, size))) == raw


def test_the_checksum_is_that_of_redis() -> None:
    """The check value of Redis's own source (crc64.c): of 123456789."""
    assert anycrc.Model("CRC64-REDIS").calc(b"123456789") == 0xE9C6D914C4B8D9CA


def test_a_server_that_writes_no_checksum_writes_zero() -> None:
    raw = a_dump(crc=0)
    assert b"".join(checked([raw])) == raw


@pytest.mark.parametrize("magic", [b"REDIS00x1", b"RODIS0011", b"\0" * 9, b"VALKEY08x", b"VALKEYabc"])
def test_what_does_not_begin_as_a_dump_is_refused(magic: bytes) -> None:
    for size in (1, 9, 10_000):
        with pytest.raises(SourceError, match="does not begin as one"):
            list(checked(cut(a_dump(magic), size)))


def test_a_dump_cut_anywhere_is_refused() -> None:
    raw = a_dump(size=60)
    for end in range(len(raw)):
        with pytest.raises(SourceError, match=r"too short|damaged"):
            list(checked([raw[:end]]))


def test_a_changed_byte_anywhere_is_refused() -> None:
    raw = a_dump(size=60)
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 0x10
        with pytest.raises(SourceError):
            list(checked(cut(bytes(changed), 16)))


def test_the_end_is_held_back_until_the_checksum_was_found_right() -> None:
    """Whoever writes what comes has no whole dump before the error."""
    raw = bytearray(a_dump())
    raw[100] ^= 1
    passed: list[bytes] = []
    with pytest.raises(SourceError):
        passed.extend(checked(cut(bytes(raw), 512)))
    assert sum(map(len, passed)) < len(raw)
