"""age files: what we make others open, what others make we open, and nothing that was changed passes."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup.age import NotOpened, decrypted, encrypted

BLOCK = 64 << 10
KEYS = [pyrage.x25519.Identity.generate() for _ in range(3)]
#: Sizes around the ends of blocks, where a stream's end is decided.
SIZES = st.integers(0, 2000) | st.builds(lambda n, d: max(n * BLOCK + d, 0), st.integers(0, 5), st.integers(-20, 20))


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def cut(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def ours(plain: Sequence[bytes], *keys: pyrage.x25519.Identity) -> bytes:
    return b"".join(encrypted(plain, [key.to_public() for key in keys]))


def opened(stored: Sequence[bytes], *keys: pyrage.x25519.Identity) -> bytes:
    return b"".join(map(bytes, decrypted(stored, keys)))


@given(SIZES, st.integers(200, 200_000))
def test_what_we_make_pyrage_opens_with_each_of_its_keys(size: int, step: int) -> None:
    plain = noise(size)
    made = ours(cut(plain, step), *KEYS[:2])
    assert pyrage.decrypt(made, KEYS[:1]) == pyrage.decrypt(made, KEYS[1:2]) == plain
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(made, KEYS[2:])


@given(SIZES, st.integers(200, 200_000))
def test_what_pyrage_makes_we_open_however_it_comes(size: int, step: int) -> None:
    """pyrage's headers have a stanza of no known kind in them, as the format asks readers to expect."""
    plain = noise(size)
    made = pyrage.encrypt(plain, [key.to_public() for key in KEYS[:2]])
    assert opened(cut(made, step), KEYS[2], KEYS[1]) == plain


def test_no_two_files_are_alike() -> None:
    first, second = ours([b"same"], KEYS[0]), ours([b"same"], KEYS[0])
    assert len({first[:80], second[:80]}) == len({first[-20:], second[-20:]}) == 2


def test_a_file_for_others_is_not_opened() -> None:
    with pytest.raises(NotOpened, match="none of the keys"):
        opened([ours([b"content"], KEYS[0])], *KEYS[1:])


def test_a_flipped_bit_anywhere_is_refused() -> None:
    made = ours([b"content"], *KEYS[:2])
    for position in range(len(made)):
        changed = bytearray(made)
        changed[position] ^= 1
        with pytest.raises(NotOpened):
            opened([bytes(changed)], KEYS[1])


def test_a_file_cut_anywhere_is_refused() -> None:
    made = ours([noise(100_000)], KEYS[0])
    for end in [*range(300), *range(BLOCK, BLOCK + 300), len(made) - 1]:
        with pytest.raises(NotOpened):
            opened([made[:end]], KEYS[0])


def test_an_empty_block_at_the_end_is_refused() -> None:
    """The format allows it only where the whole file is empty; pyrage refuses it too."""
    whole = ours([noise(BLOCK)], KEYS[0])
    empty = ours([], KEYS[0])
    assert opened([empty], KEYS[0]) == pyrage.decrypt(empty, KEYS[:1]) == b""
    for wrong in (whole[:-1], whole + bytes(16)):
        with pytest.raises(NotOpened):
            opened([wrong], KEYS[0])


@pytest.mark.parametrize(
    "junk", [b"", b"age", b"age-encryption.org/v1\n", b"\n--- x\n" + bytes(99), os.urandom(300_000)]
)
def test_what_is_no_age_file_is_refused(junk: bytes) -> None:
    with pytest.raises(NotOpened):
        opened([junk], KEYS[0])


def test_an_error_of_the_source_passes() -> None:
    def broken() -> Iterator[bytes]:
        yield noise(100_000)
        raise OSError("of the source")

    with pytest.raises(OSError, match="of the source"):
        list(encrypted(broken(), [KEYS[0].to_public()]))
