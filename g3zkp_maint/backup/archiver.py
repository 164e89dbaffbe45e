"""A list of rows becomes a tar stream, and rows that say where each content went.

Files change while they are read. One that differs before and after its reading is read again, up to three times; what
is said of it then is one of the notes below, counted in the manifest. Content that the parent has already, byte for
byte, is not stored again, whatever its times say.
"""

from __future__ import annotations

import stat
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from blake3 import blake3

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup import tarstream
from g3zkp_maint.backup.manifest import Counts
from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.row import Row, encode
from g3zkp_maint.backup.source import CHANGED, GONE, GREW, READINGS, UNREADABLE, VANISHED, OpenFile, Status, Whole

#: Content is gathered into chunks of this size.
_CHUNK = 512 << 10
_PIECE = 4 << 20
#: Content from this size on is a chunk, and so a zstandard frame, of its own.
_ALONE = 64 << 10

#: These make a backup partial.
PARTIAL_NOTES = frozenset({UNREADABLE, CHANGED})


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of a file: the bytes that were stored, whether the file stayed the same meanwhile, and the digest of
    its beginning as far as the reading before had come."""

    size: int
    digest: str
    beginning: str | None
    is_stable: bool
    is_short: bool
    found: Status


@dataclass
class Archiver:
    """Makes the archive with id `archive` of the files in `worklist`. To be used once: `chunks`, then the rest."""

    workshop: Workshop
    archive: int
    worklist: Iterable[Row]
    members: int = 0
    _out: list[Row] = field(default_factory=list)
    _position: int = 0
    _new_bytes: int = 0
    _notes: dict[str, int] = field(default_factory=dict)
    _pending: list[bytes] = field(default_factory=list)
    _held: int = 0
    _racy_ns: int = 0

    def chunks(self) -> Iterator[bytes]:
        """The tar stream, in chunks of 0.5 to 4 MiB."""
        # What changes from now on may change again within one tick of the file system's clock: the next run looks again.
        self._racy_ns = int(self.workshop.clock.now().timestamp()) * 1_000_000_000
        progress = self.workshop.progress
        with closing(self.workshop.files.files(self.worklist)) as files:
            for row, file in files:
                if file is None:
                    self._bare(row)
                elif isinstance(file, OSError):
                    self._leave_out(row, file)
                else:
                    yield from self._file(file, row)
                if self._held >= _CHUNK:
                    yield from self._flushed()
                progress.advance(row.size, 1)
        self._add(tarstream.END)
        yield from self._flushed()

    def lines(self) -> bytes:
        """The rows of what was listed, in its order, as lines of an index."""
        return b"".join([encode(row) + b"\n" for row in self._out])

    def refers_to(self) -> tuple[int, ...]:
        """The ids of all archives that hold content of these rows."""
        return tuple(sorted({row.archive for row in self._out} - {rows.NO_ARCHIVE}))

    def counts(self) -> Counts:
        there = [row for row in self._out if row.kind != rows.LEFT_OUT]
        size = sum(row.size for row in there if row.kind in rows.WITH_CONTENT)
        return Counts(entries=len(there), bytes=size, new_bytes=self._new_bytes, notes=self._notes)

    # -- one path ------------------------------------------------------------------------------------------------------

    def _bare(self, row: Row) -> None:
        if row.kind == rows.LEFT_OUT:
            self._note(row.link.partition(":")[0])
        else:
            self._add(tarstream.header(row, 0))
            self.members += 1
        self._out.append(row)

    def _file(self, file: OpenFile, row: Row) -> Iterator[bytes]:
        try:
            whole = file.whole()
            if whole is not None:
                self._small(whole, row)
            else:
                yield from self._large(file, row)
        except OSError as error:
            # A member begun must be ended: _stream has padded it, so the tar stays whole and only this file is lacking.
            self._leave_out(row, error)

    def _leave_out(self, row: Row, error: OSError) -> None:
        note = VANISHED if error.errno in GONE else UNREADABLE
        self._note(note)
        # The reason stays beside the path, inside the sealed list; logs and manifests only count.
        self._out.append(Row(row.path, rows.LEFT_OUT, 0, 0, 0, 0, 0, 0, 0, link=f"{note}: {error.strerror}"))

    def _small(self, whole: Whole, row: Row) -> None:
        if whole.note is not None:
            self._note(whole.note)
        data = whole.data
        digest = blake3(data).hexdigest()
        if digest != row.digest:
            self._begin(row, whole.found, len(data))
            self._add(data)
            self._add(tarstream.padding(len(data)))
        self._finish(row, whole.found, len(data), digest)

    def _large(self, file: OpenFile, row: Row) -> Iterator[bytes]:
        """A file that does not fit into memory: streamed, and streamed again as a later member where it changed
        meanwhile. The last member of a path is the one that its row points to, and the one that `tar x` leaves."""
        known = file.known()
        if known is not None:
            self._finish(row, known, known.st_size, row.digest)
            return
        reading = yield from self._stream(file, row, checkpoint=None)
        only_grew = not reading.is_short
        for _ in range(READINGS - 1):
            if reading.is_stable:
                break
            earlier, reading = reading, (yield from self._stream(file, row, checkpoint=reading.size))
            only_grew = only_grew and not reading.is_short and reading.beginning == earlier.digest
        if not reading.is_stable:
            self._note(GREW if only_grew else CHANGED)
        self._finish(row, reading.found, reading.size, reading.digest)

    def _stream(self, file: OpenFile, row: Row, *, checkpoint: int | None) -> Generator[bytes, None, _Reading]:
        """One member with as many bytes as the file has now; zeros stand for what it loses meanwhile."""
        found = file.begin()
        self._begin(row, found, found.st_size)
        yield self._flush()
        hasher, left, beginning = blake3(), found.st_size, None
        failure: OSError | None = None
        is_short = False
        while left:
            to_checkpoint = (checkpoint or 0) - (found.st_size - left)
            want = min(_PIECE, left, to_checkpoint if to_checkpoint > 0 else _PIECE)
            try:
                piece = b"" if is_short else file.piece(want)
            except OSError as error:
                failure, piece = error, b""
            if not piece:
                is_short, piece = True, bytes(want)
            hasher.update(piece)
            left -= len(piece)
            self._position += len(piece)
            if found.st_size - left == checkpoint:
                beginning = hasher.hexdigest()
            yield piece
        self._add(tarstream.padding(found.st_size))
        if failure is not None:
            raise failure
        is_stable = file.end() and not is_short
        return _Reading(found.st_size, hasher.hexdigest(), beginning, is_stable, is_short, found)

    # -- the stream ----------------------------------------------------------------------------------------------------

    def _begin(self, row: Row, found: Status, size: int) -> None:
        row.mode, row.uid, row.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
        row.mtime_ns = found.st_mtime_ns
        self._add(tarstream.header(row, size))
        self.members += 1
        row.archive, row.offset = self.archive, self._position
        self._new_bytes += size

    def _finish(self, row: Row, found: Status, size: int, digest: str) -> None:
        row.mode, row.uid, row.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
        row.mtime_ns, row.inode, row.size, row.digest = found.st_mtime_ns, found.st_ino, size, digest
        row.ctime_ns = found.st_ctime_ns if found.st_ctime_ns < self._racy_ns else 0
        self._out.append(row)

    def _add(self, data: bytes) -> None:
        self._pending.append(data)
        self._held += len(data)
        self._position += len(data)

    def _flush(self) -> bytes:
        chunk = b"".join(self._pending)
        self._pending.clear()
        self._held = 0
        return chunk

    def _flushed(self) -> Iterator[bytes]:
        """What is pending: larger content as chunks of its own, uncopied, so that what cannot be compressed does not
        slow down what can; the rest gathered. Raises LeaseLost where another has taken over: the archive would be one
        too many."""
        self.workshop.guard.ensure_held()
        gathered: list[bytes] = []
        for piece in self._pending:
            if len(piece) < _ALONE:
                gathered.append(piece)
                continue
            yield b"".join(gathered)
            gathered.clear()
            yield piece
        yield b"".join(gathered)
        self._pending.clear()
        self._held = 0

    def _note(self, note: str) -> None:
        self._notes[note] = self._notes.get(note, 0) + 1
