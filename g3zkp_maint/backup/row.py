r"""Rows of the file index: one line of JSON, an array, per path of a snapshot.

    ["ipfs/blocks/AB/CIQ….data","f",420,1001,1001,1764…(mtime ns),262158,1764…(ctime ns),131090,"b3 hex",4,512,""]

The fields are those of `Row`, in its order. Paths are relative to the messenger's data folder, as in the tar member;
they are UTF-8, where a byte that is no UTF-8 is written `\xNN` and a backslash `\\`. Rows are in walk order: a folder
before what it holds, siblings by their bytes; so two indexes are compared by reading both once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

FILE = "f"
SPARSE = "s"  # a file with holes, restored with holes
FOLDER = "d"
SYMLINK = "l"
HARDLINK = "h"
FIFO = "p"
LEFT_OUT = "x"  # seen, not stored: `link` says why; a restore neither makes nor removes it

WITH_CONTENT = frozenset({FILE, SPARSE})
NO_ARCHIVE = -1

_ESCAPE = re.compile(rb"\\(\\|x[0-9a-f]{2})")


class Row(msgspec.Struct, array_like=True, gc=False):
    """One path. Times in nanoseconds since the epoch, sizes and offsets in bytes.

    `digest` is the BLAKE3 of the content in hex, `archive` the id (in the manifest) of the archive that holds it and
    `offset` where it starts in that archive's plain tar stream; NO_ARCHIVE where there is no content. `ctime_ns` is 0
    where the content must be looked at again by the next incremental, whatever the times say. `link` is the target of
    a symbolic link, or the first path of a hard-linked file.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    ctime_ns: int
    inode: int
    digest: str = ""
    archive: int = NO_ARCHIVE
    offset: int = 0
    link: str = ""


encode = msgspec.json.Encoder().encode
_decode_lines = msgspec.json.Decoder(Row).decode_lines


def escape(raw: bytes) -> str:
    r"""A path's bytes as a row writes them."""
    if b"\\" in raw:
        raw = raw.replace(b"\\", b"\\\\")
    return raw.decode("utf-8", "backslashreplace")


def unescape(path: str) -> bytes:
    """The bytes that `escape` was given."""
    raw = path.encode()
    if b"\\" not in raw:
        return raw
    return _ESCAPE.sub(lambda m: b"\\" if m[1] == b"\\" else bytes([int(m[1][1:], 16)]), raw)


def walk_key(path: str) -> bytes:
    """A key by which paths sort in walk order."""
    return unescape(path).replace(b"/", b"\0")


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks of whole lines, from chunks cut anywhere."""
    rest = b""
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if not end:
            rest += chunk
            continue
        yield rest + chunk[:end]
        rest = chunk[end:]
    if rest:
        yield rest


def read_rows(chunks: Iterable[bytes]) -> Iterator[Row]:
    """The rows of an index. Raises msgspec.DecodeError (a ValueError) where a line is no row."""
    for block in lines(chunks):
        yield from _decode_lines(block)


def read_rows_raw(chunks: Iterable[bytes]) -> Iterator[tuple[Row, bytes]]:
    """Each row with its line, without the newline."""
    for block in lines(chunks):
        yield from zip(_decode_lines(block), block.split(b"\n"), strict=False)


class LineBuffer:
    """Gathers lines and gives them on in chunks of about 512 KiB."""

    def __init__(self, size: int = 512 << 10) -> None:
        self._size = size
        self._lines: list[bytes] = []
        self._held = 0

    def add(self, line: bytes) -> bytes | None:
        """A full chunk, or None while there is none."""
        self._lines.append(line)
        self._held += len(line) + 1
        return self.flush() if self._held >= self._size else None

    def flush(self) -> bytes:
        """What is held, with a newline after each line."""
        chunk = b"".join([line + b"\n" for line in self._lines])
        self._lines.clear()
        self._held = 0
        return chunk
