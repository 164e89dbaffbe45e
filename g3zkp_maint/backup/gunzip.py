"""A gzip stream, read to its very end: only the trailer says that it was whole.

Python's `tarfile` reads gzip by itself, checks neither CRC nor length there, and takes a tar that ends anywhere between
two members for a whole one. So it gets the plain bytes from here, and is not asked whether that was all.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from g3zkp_maint.errors import ArchiveCorrupt

#: What is given at once at most, however much a few bytes may expand to.
_PIECE = 1 << 20
_GZIP = 31


def gunzipped(pieces: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The plain bytes of one gzip file, of several in a row too. Whole only when this ends without an error.

    Raises ArchiveCorrupt where it is no gzip, cut short, or changed.
    """
    inflater = zlib.decompressobj(_GZIP)
    try:
        for piece in pieces:
            left = piece
            while left:
                if inflater.eof:
                    left = left.lstrip(b"\0")  # padding, as tapes and dd leave it
                    inflater = zlib.decompressobj(_GZIP) if left else inflater
                    continue
                yield inflater.decompress(left, _PIECE)
                left = inflater.unconsumed_tail or inflater.unused_data
        while not inflater.eof and (plain := inflater.decompress(b"", _PIECE)):
            yield plain
    except zlib.error as error:
        raise ArchiveCorrupt(f"{what} is no whole gzip file: {error}; it was damaged, use another copy") from None
    if not inflater.eof:
        raise ArchiveCorrupt(f"{what} ends in the middle: it was cut short; use another copy")


class PlainStream:
    """Pieces as a file that can only be read on. Tells where the last byte that is not zero was."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = memoryview(b"")
        self.size = 0
        self.content_end = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none only at the end."""
        while not self._buffer:  # a piece may be empty
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._buffer = memoryview(piece)
        part = bytes(self._buffer[:size])
        self._buffer = self._buffer[len(part) :]
        content = len(part.rstrip(b"\0"))
        if content:
            self.content_end = self.size + content
        self.size += len(part)
        return part

    def drain(self) -> None:
        """Reads to the end."""
        while self.read(_PIECE):
            continue
