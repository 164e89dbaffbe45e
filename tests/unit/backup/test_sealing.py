"""Streams in and out of the store: whole, or an error that says which stream, or the caller's own error."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.sealing import seal, unseal, unsealed
from g3zkp_maint.errors import ArchiveCorrupt, ObjectExists, StoreFull
from g3zkp_maint.stores.base import Chunk, Stored
from g3zkp_maint.stores.directory import DirectoryStore

#: What age seals at a time, with its tag.
SEALED_BLOCK = (64 << 10) + 16


class OwnError(OSError):
    """An error of a caller, of the sort that is easily mistaken for one of the stream."""


def sealed_bytes(store: DirectoryStore, keyring: Keyring, plain: Iterable[bytes], key: str = "a") -> bytes:
    seal(store, key, plain, recipients=keyring.archive_recipients())
    return b"".join(store.get(key))


def opened(stored: Iterable[bytes], keyring: Keyring, plain_size: int | None = None) -> bytes:
    pieces: list[bytes] = []
    unseal(stored, pieces.append, identities=keyring.archive_identities(), what="ipfs.000", plain_size=plain_size)
    return b"".join(pieces)


def end_of_header(raw: bytes) -> int:
    """Where age's first block begins: after the line with the MAC and the nonce."""
    return raw.index(b"\n", raw.index(b"\n--- ") + 1) + 1 + 16


def noise(size: int) -> bytes:
    return random.Random(7).randbytes(size)


def test_whoever_has_read_all_leaves_no_thread_behind(
    tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who forks next must not meet its end, however late that is."""
    raw = sealed_bytes(DirectoryStore(tmp_path), keyring, [noise(1000)])
    run = threading.Thread.run

    def run_and_linger(thread: threading.Thread) -> None:
        run(thread)
        threading.Event().wait(0.05)

    monkeypatch.setattr(threading.Thread, "run", run_and_linger)
    before = threading.active_count()
    opened([raw], keyring)
    assert threading.active_count() == before


@given(
    st.lists(st.one_of(st.binary(max_size=300), st.integers(0, 200_000).map(bytes)), max_size=6), st.integers(1, 70_000)
)
def test_what_is_sealed_is_unsealed(
    tmp_path_factory: pytest.TempPathFactory, keyring: Keyring, chunks: list[bytes], cut: int
) -> None:
    store = DirectoryStore(tmp_path_factory.mktemp("store"))
    done = seal(store, "a", chunks, recipients=keyring.archive_recipients())
    raw = b"".join(store.get("a"))
    pieces = [raw[i : i + cut] for i in range(0, len(raw), cut)]
    assert opened(pieces, keyring, done.plain_size) == b"".join(chunks)
    assert done.size == len(raw)
    assert done.plain_size == sum(map(len, chunks))


def test_a_stream_cut_anywhere_is_refused(store: DirectoryStore, keyring: Keyring) -> None:
    """At every boundary of age's blocks, where a naive reader sees a clean end, and around each."""
    raw = sealed_bytes(store, keyring, [noise(300_000), noise(5)])
    boundaries = range(end_of_header(raw), len(raw), SEALED_BLOCK)
    ends = {at + shift for at in (0, *boundaries, len(raw)) for shift in (-17, -16, -1, 0, 1, 16)}
    assert len(boundaries) == 5
    for end in sorted(end for end in ends if 0 <= end < len(raw)):
        with pytest.raises(ArchiveCorrupt, match=r"ipfs\.000 cannot be read"):
            opened([raw[:end]], keyring)


def test_a_block_left_out_doubled_or_swapped_is_refused(store: DirectoryStore, keyring: Keyring) -> None:
    raw = sealed_bytes(store, keyring, [noise(400_000)])
    header = end_of_header(raw)
    head, blocks = raw[:header], [raw[i : i + SEALED_BLOCK] for i in range(header, len(raw), SEALED_BLOCK)]
    assert opened([head, *blocks], keyring) == noise(400_000)
    spoilt = [blocks[1:], [blocks[0], *blocks], [blocks[1], blocks[0], *blocks[2:]], [*blocks, blocks[-1]]]
    for wrong in spoilt:
        with pytest.raises(ArchiveCorrupt):
            opened([head, *wrong], keyring)


def test_bytes_after_the_end_are_refused(store: DirectoryStore, keyring: Keyring) -> None:
    raw = sealed_bytes(store, keyring, [b"whole"])
    with pytest.raises(ArchiveCorrupt):
        opened([raw, b"\0"], keyring)


def test_a_flipped_bit_anywhere_is_refused(store: DirectoryStore, keyring: Keyring) -> None:
    raw = sealed_bytes(store, keyring, [noise(2000)])
    for position in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[position] ^= 1
        with pytest.raises(ArchiveCorrupt):
            opened([bytes(changed)], keyring)


def test_a_stream_sealed_for_others_is_refused(store: DirectoryStore, keyring: Keyring) -> None:
    raw = sealed_bytes(store, keyring, [b"secret"])
    with pytest.raises(ArchiveCorrupt, match="cannot be read"):
        unseal([raw], print, identities=[pyrage.x25519.Identity.generate()], what="ipfs.000")


def test_content_that_is_not_zstandard_is_refused(keyring: Keyring) -> None:
    raw = pyrage.encrypt(b"no frame", keyring.archive_recipients())
    with pytest.raises(ArchiveCorrupt):
        opened([raw], keyring)


def test_fewer_plain_bytes_than_the_manifest_says_are_refused(store: DirectoryStore, keyring: Keyring) -> None:
    raw = sealed_bytes(store, keyring, [b"12345"])
    with pytest.raises(ArchiveCorrupt, match="5 plain bytes where the manifest says 6"):
        opened([raw], keyring, plain_size=6)


@pytest.mark.parametrize("error", [OwnError("mine"), RuntimeError("mine"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("after", [0, 1, 40])
def test_an_error_of_the_producer_passes_unchanged_and_leaves_nothing(
    store: DirectoryStore, keyring: Keyring, tmp_path: Path, error: BaseException, after: int
) -> None:
    def plain() -> Iterator[bytes]:
        for _ in range(after):
            yield noise(1 << 20)
        raise error

    with pytest.raises(type(error)) as caught:
        seal(store, "a", plain(), recipients=keyring.archive_recipients())
    assert caught.value is error
    assert not files_below(tmp_path)


class FailingStore(DirectoryStore):
    """Fails when it has taken `after` chunks."""

    def __init__(self, root: Path, error: BaseException, after: int) -> None:
        super().__init__(root)
        self.error, self.after = error, after

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        def some() -> Iterator[Chunk]:
            for number, chunk in enumerate(chunks):
                if number == self.after:
                    raise self.error
                yield chunk
            raise self.error

        return super().put(key, some(), if_absent=if_absent)


@pytest.mark.parametrize("error", [StoreFull("no room"), OwnError("mine")], ids=repr)
@pytest.mark.parametrize("after", [0, 1, 5, 999])
def test_an_error_of_the_store_passes_unchanged_and_leaves_nothing(
    keyring: Keyring, tmp_path: Path, error: Exception, after: int
) -> None:
    store = FailingStore(tmp_path, error, after)
    with pytest.raises(type(error)) as caught:
        seal(store, "a", (noise(1 << 20) for _ in range(20)), recipients=keyring.archive_recipients())
    assert caught.value is error
    assert not files_below(tmp_path)


def test_a_taken_key_is_refused_and_keeps_its_object(store: DirectoryStore, keyring: Keyring) -> None:
    raw = sealed_bytes(store, keyring, [b"first"])
    with pytest.raises(ObjectExists):
        sealed_bytes(store, keyring, [b"second"])
    assert b"".join(store.get("a")) == raw


@pytest.mark.parametrize("error", [OwnError(28, "No space left on device"), RuntimeError("mine")], ids=repr)
def test_an_error_of_the_sink_passes_unchanged(store: DirectoryStore, keyring: Keyring, error: Exception) -> None:
    """A full disk at the target is no corrupt archive."""
    raw = sealed_bytes(store, keyring, [noise(200_000)])

    def sink(piece: bytes) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        unseal([raw], sink, identities=keyring.archive_identities(), what="ipfs.000")
    assert caught.value is error


@pytest.mark.parametrize("error", [OwnError("mine"), RuntimeError("mine")], ids=repr)
def test_an_error_of_the_store_while_reading_passes_unchanged(
    store: DirectoryStore, keyring: Keyring, error: Exception
) -> None:
    raw = sealed_bytes(store, keyring, [noise(200_000)])

    def stored() -> Iterator[bytes]:
        yield raw[:100_000]
        raise error

    with pytest.raises(type(error)) as caught:
        b"".join(unsealed(stored(), identities=keyring.archive_identities(), what="ipfs.000"))
    assert caught.value is error


def test_a_hole_of_any_size_is_handed_on_in_bounded_pieces(store: DirectoryStore, keyring: Keyring) -> None:
    """256 MiB of zeros are one block of age; handed on in one piece, they would be in memory in one piece."""
    sealed_bytes(store, keyring, (bytes(4 << 20) for _ in range(64)))
    sizes: list[int] = []
    unseal(store.get("a"), lambda p: sizes.append(len(p)), identities=keyring.archive_identities(), what="a")
    assert sum(sizes) == 256 << 20
    assert max(sizes) <= 1 << 20


def test_a_reader_who_leaves_ends_the_thread(store: DirectoryStore, keyring: Keyring) -> None:
    sealed_bytes(store, keyring, (noise(1 << 20) for _ in range(30)))
    plain = unsealed(store.get("a"), identities=keyring.archive_identities(), what="a")
    next(plain)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "unseal"]
    plain.close()
    thread.join(10)
    assert not thread.is_alive()


def files_below(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names]
