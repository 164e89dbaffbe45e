"""Rows with contents, from wherever, as archives of ours: tar streams cut to size, and at the end the component's index.

An index is in walk order and an old tar is not, so the rows are held until its end: about 0.5 GiB for a million paths.
Contents pass through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from blake3 import blake3

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup import tarstream
from g3zkp_maint.backup.manifest import Counts
from g3zkp_maint.backup.row import LineBuffer, Row, encode, walk_key
from g3zkp_maint.errors import ArchiveCorrupt
from g3zkp_maint.progress import Progress

_CHUNK = 512 << 10

Member = tuple[Row, Iterator[bytes]]


@dataclass
class Repacker:
    """Makes as many archives as `members` fill: `chunks` for each, while `has_more`; then `index_chunks` and `counts`.

    An archive is closed at `weight`, of which a file takes `per_file` beside its bytes.
    """

    members: Iterable[Member]
    top: str
    what: str
    weight: int
    per_file: int
    progress: Progress
    entries: int = 0
    has_more: bool = True
    _rows: dict[str, Row] = field(default_factory=dict)
    _new_bytes: int = 0

    def __post_init__(self) -> None:
        self._source = iter(self.members)
        self._next: Member | None = None
        self._is_begun = False

    def chunks(self, archive: int) -> Iterator[bytes]:
        """The tar stream of the archive with this id, in chunks of 0.5 MiB or more. Raises what the members raise."""
        out = _Out()
        held = self.entries = 0
        self._begin()
        while self._next is not None and (held < self.weight or not held):
            row, content = self._next
            yield from self._member(out, archive, row, content)
            held += row.size + self.per_file
            self.progress.advance(row.size, 1)
            self._next = next(self._source, None)
        self.has_more = self._next is not None
        out.add(tarstream.END)
        yield out.flush()

    def index_chunks(self) -> Iterator[bytes]:
        """The rows of all archives, in walk order. Raises ArchiveCorrupt where they make no tree."""
        settle_links(self._rows, self.what)
        check_folders(self._rows, self.top, self.what)
        buffer = LineBuffer()
        for path in sorted(self._rows, key=walk_key):
            if chunk := buffer.add(encode(self._rows[path])):
                yield chunk
        yield buffer.flush()

    def counts(self) -> Counts:
        there = [row for row in self._rows.values() if row.kind != rows.LEFT_OUT]
        devices = len(self._rows) - len(there)
        size = sum(row.size for row in there if row.kind in rows.WITH_CONTENT)
        notes = {"device": devices} if devices else {}
        return Counts(entries=len(there), bytes=size, new_bytes=self._new_bytes, notes=notes)

    @property
    def count(self) -> int:
        """Of the rows."""
        return len(self._rows)

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun, self._next = True, next(self._source, None)

    def _member(self, out: _Out, archive: int, row: Row, content: Iterator[bytes]) -> Iterator[bytes]:
        self._rows[row.path] = row  # of a path that comes twice the last one counts, as for tar
        if row.kind == rows.LEFT_OUT:
            return
        self.entries += 1
        out.add(tarstream.header(row, row.size))
        if row.kind not in rows.WITH_CONTENT:
            return
        row.archive, row.offset = archive, out.position
        hasher = blake3()
        for piece in content:
            hasher.update(piece)
            out.add(piece)
            if out.held >= _CHUNK:
                yield out.flush()
        row.digest = hasher.hexdigest()
        self._new_bytes += row.size
        out.add(tarstream.padding(row.size))
        if out.held >= _CHUNK:
            yield out.flush()


class _Out:
    """Gathers what goes into the stream, and knows how long that is."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self.held = 0
        self.position = 0

    def add(self, data: bytes) -> None:
        self._pending.append(data)
        self.held += len(data)
        self.position += len(data)

    def flush(self) -> bytes:
        chunk = b"".join(self._pending)
        self._pending.clear()
        self.held = 0
        return chunk


def settle_links(listed: dict[str, Row], what: str) -> None:
    """Makes the first path in walk order the file and the others its links, as a scan finds them: tar wrote whichever
    came first in the folder. Raises ArchiveCorrupt for a link to no file."""
    groups: dict[str, list[Row]] = {}
    for row in listed.values():
        if row.kind == rows.HARDLINK:
            groups.setdefault(row.link, []).append(row)
    for target, links in groups.items():
        file = listed.get(target)
        if file is None or file.kind not in rows.WITH_CONTENT:
            raise ArchiveCorrupt(f"{what} holds a link to {target!r}, and no such file; use another copy")
        first = min([file, *links], key=lambda row: walk_key(row.path))
        if first is not file:
            _swap(first, file)
        for row in links:
            if row is not first:
                row.link = first.path


def _swap(link: Row, file: Row) -> None:
    """The content moves to the row of the link."""
    link.kind, link.size, link.digest, link.link = file.kind, file.size, file.digest, ""
    link.archive, link.offset = file.archive, file.offset
    file.kind, file.size, file.digest, file.link = rows.HARDLINK, 0, "", link.path
    file.archive, file.offset = rows.NO_ARCHIVE, 0


def check_folders(listed: dict[str, Row], top: str, what: str) -> None:
    """Raises ArchiveCorrupt unless `top` and whatever holds something is a folder that is listed: a restore makes those,
    and no others."""
    folders = {path for path, row in listed.items() if row.kind == rows.FOLDER}
    for path in listed:
        parent = path.rpartition("/")[0] if path != top else top
        if parent not in folders:
            raise ArchiveCorrupt(f"{what} holds {path!r}, and no folder {parent!r}; use another copy")
    if top not in folders:
        raise ArchiveCorrupt(f"{what} holds no folder {top!r}; use another copy")
