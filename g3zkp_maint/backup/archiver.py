"""A list of rows becomes a tar stream, and rows that say where each content went.

Files change while they are read. One that differs before and after its reading is read again, up to three times; what
is said of it then is one of the notes below, counted in the manifest. Content that the parent has already, byte for
byte, is not stored again, whatever its times say.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

from blake3 import blake3

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup import tarstream
from g3zkp_maint.backup.confined import Confined
from g3zkp_maint.backup.manifest import Counts
from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.row import Row, encode, unescape

#: Content is gathered into chunks of this size, and files up to it are read at once.
_CHUNK = 512 << 10
_PIECE = 4 << 20
#: Content from this size on is a chunk, and so a zstandard frame, of its own.
_ALONE = 64 << 10
_READINGS = 3
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

VANISHED = "vanished"  # left out: it is gone
GREW = "grew"  # stored: the part that was there when it was opened, byte for byte
UNREADABLE = "unreadable"  # left out
CHANGED = "changed"  # stored, but it was rewritten during every reading: its content may be torn
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
    found: os.stat_result


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
        with Confined(self.workshop.root) as confined:
            for row in self.worklist:
                if row.kind in rows.WITH_CONTENT or (row.kind == rows.HARDLINK and _is_parted(confined, row)):
                    yield from self._file(confined, row)
                else:
                    self._bare(row)
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

    def _file(self, confined: Confined, row: Row) -> Iterator[bytes]:
        try:
            folder, name = confined.locate(unescape(row.path))
            fd = os.open(name, _OPEN, dir_fd=folder)
        except OSError as error:
            self._leave_out(row, error)
            return
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                self._leave_out(row, OSError(errno.ENOENT, "replaced by something that is no file"))
            elif found.st_size > _CHUNK or not self._small(fd, found, row):
                yield from self._large(fd, row)
        except OSError as error:
            # A member begun must be ended: _stream has padded it, so the tar stays whole and only this file is lacking.
            self._leave_out(row, error)
        finally:
            os.close(fd)

    def _leave_out(self, row: Row, error: OSError) -> None:
        note = VANISHED if error.errno in _GONE else UNREADABLE
        self._note(note)
        # The reason stays beside the path, inside the sealed list; logs and manifests only count.
        self._out.append(Row(row.path, rows.LEFT_OUT, 0, 0, 0, 0, 0, 0, 0, link=f"{note}: {error.strerror}"))

    def _small(self, fd: int, found: os.stat_result, row: Row) -> bool:
        """A file that fits into memory: read until a reading finds it unchanged. False where it no longer fits."""
        data, only_grew = b"", True
        for _ in range(_READINGS):
            earlier, data = data, _read_once(fd, found.st_size)
            after = os.fstat(fd)
            if len(data) == found.st_size and _is_same(found, after):
                break
            only_grew = only_grew and len(data) == found.st_size and data.startswith(earlier)
            if after.st_size > _CHUNK:
                return False
            found = after
            os.lseek(fd, 0, os.SEEK_SET)
        else:
            self._note(GREW if only_grew else CHANGED)
        digest = blake3(data).hexdigest()
        if digest != row.digest:
            self._begin(row, found, len(data))
            self._add(data)
            self._add(tarstream.padding(len(data)))
        self._finish(row, found, len(data), digest)
        return True

    def _large(self, fd: int, row: Row) -> Iterator[bytes]:
        """A file that does not: streamed, and streamed again as a later member where it changed meanwhile. The last
        member of a path is the one that its row points to, and the one that `tar x` leaves."""
        if row.digest and self._is_known(fd, row):
            return
        reading = yield from self._stream(fd, row, checkpoint=None)
        only_grew = not reading.is_short
        for _ in range(_READINGS - 1):
            if reading.is_stable:
                break
            earlier, reading = reading, (yield from self._stream(fd, row, checkpoint=reading.size))
            only_grew = only_grew and not reading.is_short and reading.beginning == earlier.digest
        if not reading.is_stable:
            self._note(GREW if only_grew else CHANGED)
        self._finish(row, reading.found, reading.size, reading.digest)

    def _is_known(self, fd: int, row: Row) -> bool:
        """Whether the content is the parent's; if so its row is done."""
        found = os.fstat(fd)
        hasher, size = blake3(), 0
        os.lseek(fd, 0, os.SEEK_SET)
        while piece := os.read(fd, _PIECE):
            hasher.update(piece)
            size += len(piece)
        if hasher.hexdigest() != row.digest or not _is_same(found, os.fstat(fd)):
            return False
        self._finish(row, found, size, row.digest)
        return True

    def _stream(self, fd: int, row: Row, *, checkpoint: int | None) -> Generator[bytes, None, _Reading]:
        """One member with as many bytes as the file has now; zeros stand for what it loses meanwhile."""
        os.lseek(fd, 0, os.SEEK_SET)
        found = os.fstat(fd)
        self._begin(row, found, found.st_size)
        yield self._flush()
        hasher, left, beginning = blake3(), found.st_size, None
        failure: OSError | None = None
        is_short = False
        while left:
            to_checkpoint = (checkpoint or 0) - (found.st_size - left)
            want = min(_PIECE, left, to_checkpoint if to_checkpoint > 0 else _PIECE)
            try:
                piece = b"" if is_short else os.read(fd, want)
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
        is_stable = not is_short and _is_same(found, os.fstat(fd))
        return _Reading(found.st_size, hasher.hexdigest(), beginning, is_stable, is_short, found)

    # -- the stream ----------------------------------------------------------------------------------------------------

    def _begin(self, row: Row, found: os.stat_result, size: int) -> None:
        row.mode, row.uid, row.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
        row.mtime_ns = found.st_mtime_ns
        self._add(tarstream.header(row, size))
        self.members += 1
        row.archive, row.offset = self.archive, self._position
        self._new_bytes += size

    def _finish(self, row: Row, found: os.stat_result, size: int, digest: str) -> None:
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


def _is_parted(confined: Confined, row: Row) -> bool:
    """Whether a hard link no longer shares its content with its first path. Then its row becomes that of a file."""
    try:
        found = [_inode(confined, path) for path in (row.path, row.link)]
    except OSError:
        found = [0, 1]
    if found[0] == found[1]:
        return False
    row.kind, row.link = rows.FILE, ""
    return True


def _inode(confined: Confined, path: str) -> int:
    folder, name = confined.locate(unescape(path))
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino


def _read_once(fd: int, size: int) -> bytes:
    """Up to `size` bytes: fewer where the file became shorter, and no more where it grew. One call for most files."""
    data = os.read(fd, size + 1)
    return data if len(data) <= size else data[:size]


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return (
        one.st_size == other.st_size and one.st_mtime_ns == other.st_mtime_ns and one.st_ctime_ns == other.st_ctime_ns
    )
