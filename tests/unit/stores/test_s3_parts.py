from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.stores.base import Chunk, Stored
from g3zkp_maint.stores.s3_upload import Parts

chunks = st.lists(st.binary(max_size=40).flatmap(lambda raw: st.sampled_from([raw, bytearray(raw), memoryview(raw)])))


@given(chunks=chunks, part_bytes=st.integers(1, 50))
def test_parts_are_the_chunks_cut_anew_all_full_but_the_last(chunks: list[Chunk], part_bytes: int) -> None:
    whole = b"".join(chunks)
    parts = Parts(chunks, part_bytes)
    found = [bytes(part) for part in parts]
    assert b"".join(found) == whole
    assert all(len(part) == part_bytes for part in found[:-1])
    assert len(found) == max(1, -(-len(whole) // part_bytes))
    assert parts.stored() == Stored(len(whole), hashlib.sha256(whole).hexdigest())


def test_a_chunk_may_be_changed_by_its_owner_once_the_next_is_asked_for() -> None:
    buffer = bytearray(b"abc")

    def chunks() -> object:
        yield buffer
        buffer[:] = b"xyz"
        yield buffer

    assert [bytes(part) for part in Parts(chunks(), 100)] == [b"abcxyz"]  # type: ignore[arg-type]
