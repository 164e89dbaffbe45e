"""Streams into the store: zstandard, then age, then the store; and back.

The open format of every archive: `age -d -i KEY archive | zstd -d` gives the plain bytes. A stream is produced,
compressed and encrypted in a thread beside the caller's, block by block, while that one is in the store's write
(SHA-256, disk or network); the other way round likewise. So signals, which strike the main thread, never strike inside
age, which would hide whether it was Ctrl-C or a time limit. Two cores are used by two shards in two processes, which
measured faster than more threads of one.
"""

from __future__ import annotations

import contextlib
import io
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

import pyrage
import zstandard

from g3zkp_maint.errors import ArchiveCorrupt
from g3zkp_maint.stores.base import Chunk, Store

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: What is handed to the store at once, and the depth of the queue before it: 8 MiB in flight at most.
_HANDOVER = 1 << 20
_DEPTH = 8
#: And how many plain pieces are decrypted ahead of their reader.
_AHEAD = 4
#: How much is read at once for age.
_READ_AHEAD = 256 << 10
#: How much decrypted content is gathered before it is decompressed.
_GATHERED = 256 << 10
#: The largest piece that a reader is given: 4 MiB of zeros are 150 bytes when compressed.
_PLAIN_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Sealed:
    """An object as stored: `size` and `digest` (SHA-256, hex) of the stored bytes, `plain_size` before compression."""

    size: int
    digest: str
    plain_size: int


def seal(
    store: Store,
    key: str,
    plain: Iterable[Chunk],
    *,
    recipients: Sequence[pyrage.x25519.Recipient],
    level: int = 1,
    if_absent: bool = True,
) -> Sealed:
    """Compresses, encrypts and stores `plain` under `key`.

    An error raised while `plain` is produced, or by the store, is raised unchanged, and nothing is visible under `key`.
    """
    pull, push = _CompressedReader(plain, level), _Handover()
    producer = threading.Thread(target=_produce, args=(pull, push, list(recipients)), name="seal", daemon=True)
    producer.start()
    try:
        stored = store.put(key, push.chunks(), if_absent=if_absent)
    finally:
        push.abandon()
        producer.join()
    return Sealed(stored.size, stored.digest, pull.plain_size)


def _produce(pull: _CompressedReader, push: _Handover, recipients: list[pyrage.x25519.Recipient]) -> None:
    try:
        pyrage.encrypt_io(pull.buffered(), push, recipients)
        push.finish()
    except _Abandoned:
        return
    except BaseException as error:  # noqa: BLE001 - it crosses to the caller's thread and is raised there
        # pyrage wraps what its callbacks raise; the first cause is what the caller must see.
        push.fail(pull.error or error)


class _Reader(io.RawIOBase):
    """What age reads from: pieces of any size. `error` is what making one raised. age asks for 8 KiB at a time; wrapped
    in a BufferedReader most of those calls never come up to Python."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._from = iter(pieces)
        self._piece = memoryview(b"")
        self.error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, target: Buffer) -> int:
        try:
            while not self._piece:
                self._piece = memoryview(next(self._from))
        except StopIteration:
            return 0
        except BaseException as error:
            self.error = error
            raise
        view = memoryview(target)
        size = min(len(view), len(self._piece))
        view[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def buffered(self) -> io.BufferedReader:
        return io.BufferedReader(self, _READ_AHEAD)


class _CompressedReader(_Reader):
    """Each plain chunk compressed as a zstandard frame of its own, with its size and a checksum.

    A frame per chunk keeps incompressible content from slowing down its neighbours: measured 1.4 times as fast as one
    long frame on mixed data, at the same ratio. `zstd -d` reads a row of frames as one stream.
    """

    def __init__(self, plain: Iterable[Chunk], level: int) -> None:
        super().__init__(self._compress(plain, level))
        self.plain_size = 0

    def _compress(self, plain: Iterable[Chunk], level: int) -> Iterator[bytes]:
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
        for chunk in plain:
            if len(chunk):
                self.plain_size += len(chunk)
                yield compressor.compress(chunk)
        if not self.plain_size:
            yield compressor.compress(b"")


class _Handover:
    """What age writes to, and what the store reads from: gathers pieces, and hands them from thread to thread."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_DEPTH)
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._is_abandoned = threading.Event()

    # -- the producer's side -------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self._gathered += len(data)
        if self._gathered >= _HANDOVER:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._pieces:
            self._offer(b"".join(self._pieces))
            self._pieces.clear()
            self._gathered = 0

    def finish(self) -> None:
        self.flush()
        self._offer(None)

    def fail(self, error: BaseException) -> None:
        """Raises `error` in the store's hands; where the store has failed already, nobody asks for it."""
        with contextlib.suppress(_Abandoned):
            self._offer(error)

    def _offer(self, item: bytes | BaseException | None) -> None:
        while not self._is_abandoned.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return
        raise _Abandoned

    # -- the store's side ----------------------------------------------------------------------------------------------

    def chunks(self) -> Iterator[bytes]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def abandon(self) -> None:
        """Nothing more will be asked for: the producer stops at its next piece."""
        self._is_abandoned.set()


def unseal(
    stored: Iterable[bytes],
    sink: Callable[[bytes], object],
    *,
    identities: Sequence[pyrage.x25519.Identity],
    what: str,
    plain_size: int | None = None,
) -> None:
    """Decrypts and decompresses `stored` and hands the plain bytes to `sink`, in order, in bounded memory.

    Raises ArchiveCorrupt, naming `what`, when the bytes are cut short (age marks its last chunk), changed, or not for
    these identities; what the sink or the store raises passes unchanged. Whatever the sink was given before an
    ArchiveCorrupt must not be trusted as whole.
    """
    for piece in unsealed(stored, identities=identities, what=what, plain_size=plain_size):
        sink(piece)


def _decrypt(
    stored: Iterable[bytes],
    sink: Callable[[bytes], object],
    identities: list[pyrage.x25519.Identity],
    what: str,
    plain_size: int | None,
) -> None:
    pull, push = _Reader(stored), _Decompressor(sink)
    try:
        pyrage.decrypt_io(pull.buffered(), push, identities)
        push.drain()
    except Exception as error:
        passed_through = pull.error or push.error
        if passed_through is not None:
            raise passed_through from None
        if isinstance(push.corrupt or error, zstandard.ZstdError | pyrage.DecryptError | OSError):
            raise ArchiveCorrupt(_corrupt(what, push.corrupt or error)) from error
        raise
    if plain_size is not None and push.plain_size != plain_size:
        raise ArchiveCorrupt(_corrupt(what, f"{push.plain_size} plain bytes where the manifest says {plain_size}"))


def unsealed(
    stored: Iterable[bytes],
    *,
    identities: Sequence[pyrage.x25519.Identity],
    what: str,
    plain_size: int | None = None,
) -> Generator[bytes, None, None]:
    """As `unseal`, for a caller that pulls: yields the plain bytes in pieces, a few MiB ahead in a thread."""
    ahead: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def offer(item: bytes | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ahead.put(item, timeout=0.2)
            except queue.Full:
                continue
            return
        raise _Abandoned

    def work() -> None:
        try:
            _decrypt(stored, offer, list(identities), what, plain_size)
            offer(None)
        except _Abandoned:
            return
        except BaseException as error:  # noqa: BLE001 - it crosses to the consumer's thread and is raised there
            with contextlib.suppress(_Abandoned):
                offer(error)

    threading.Thread(target=work, name="unseal", daemon=True).start()
    try:
        while (item := ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()


class _Abandoned(Exception):
    """Raised in the thread when the consumer has gone; never leaves it."""


def _corrupt(what: str, why: object) -> str:
    return f"{what} cannot be read: {why}; verify the backup, and use another one or the copy in another store"


class _Decompressor:
    """What age writes to: decompresses, and hands on pieces of at most 1 MiB, however far a few bytes may expand.

    `error` is what the sink raised, `corrupt` what zstandard says of the bytes.
    """

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._writer = zstandard.ZstdDecompressor().stream_writer(
            cast("IO[bytes]", _Sink(self._take)), write_size=_PLAIN_PIECE, write_return_read=False, closefd=False
        )
        self._sink = sink
        # age writes 8 KiB at a time; a call for each down to the file would cost more than the decompression.
        self._gathered: list[bytes] = []
        self._held = 0
        self.plain_size = 0
        self.error: BaseException | None = None
        self.corrupt: zstandard.ZstdError | None = None

    def _take(self, plain: bytes) -> None:
        self.plain_size += len(plain)
        try:
            self._sink(plain)
        except BaseException as error:
            self.error = error
            raise

    def write(self, data: bytes) -> int:
        self._gathered.append(bytes(data))
        self._held += len(data)
        if self._held >= _GATHERED:
            self.drain()
        return len(data)

    def drain(self) -> None:
        """Decompresses what is held; to be called once more at the end."""
        data = b"".join(self._gathered)
        self._gathered.clear()
        self._held = 0
        try:
            self._writer.write(data)
        except zstandard.ZstdError as error:
            self.corrupt = error
            raise
        except BaseException as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        """Asked for by age, after each write: what is held waits for `drain`."""


class _Sink:
    """A function as the file-like object that zstandard writes to."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def write(self, data: bytes) -> int:
        self._take(data)
        return len(data)
