"""A folder as a store: what is visible under a key is whole and on disk.

A `put` writes to a temporary name beside the key, flushes it, and renames (or, with `if_absent`, links) it into place;
then it flushes the folder. A crash leaves at most a temporary file, which no listing shows and `sweep` removes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from g3zkp_maint.errors import BadInput, ObjectExists, ObjectMissing, StoreError, StoreFull, StoreUnavailable
from g3zkp_maint.stores.base import Chunk, ObjectInfo, Stored
from g3zkp_maint.stores.key import checked_key

_PIECE = 1 << 20
_PART = ".part-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: Each time so many bytes were written, the kernel is asked to begin writing them to the disk (which is what DONTNEED
#: does with dirty pages, without waiting), so that the final flush has little left.
_FLUSH_EVERY = 8 << 20
_FOLDER_ATTEMPTS = 100


class DirectoryStore:
    """Objects are files below `root`, which is made when the first one is put."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        """See Store.put. `if_absent` rests on link(2), which fails atomically when the name is taken."""
        path = self._path(key)
        part = path.with_name(f".{path.name}{_PART}{secrets.token_hex(8)}")
        try:
            fd = self._create(part)
        except OSError as error:
            raise _translated(error, key, self._root) from error
        source = _Source(chunks)
        try:
            stored = _write(fd, source)
            _publish(part, path, if_absent=if_absent)
        except FileExistsError as error:
            source.pass_on(error)
            raise ObjectExists(f"{key} is already in the store {self._root}; objects are never overwritten") from None
        except OSError as error:
            source.pass_on(error)
            raise _translated(error, key, self._root) from error
        finally:
            part.unlink(missing_ok=True)
        return stored

    def _create(self, part: Path) -> int:
        """A descriptor of the new temporary file. Another's delete may take the folder away again as it was empty."""
        for _ in range(_FOLDER_ATTEMPTS):
            try:
                self._make_folder(part.parent)
                return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(errno.ENOENT, "its folder is removed again and again")

    def get(self, key: str, range: tuple[int, int] | None = None) -> Iterator[bytes]:
        """See Store.get."""
        path = self._path(key)
        try:
            file = path.open("rb", buffering=0)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise self._missing(key) from None
        except OSError as error:
            raise _translated(error, key, self._root) from error
        return self._pieces(file, key, range)

    def _pieces(self, file: BinaryIO, key: str, span: tuple[int, int] | None) -> Iterator[bytes]:
        with file:
            size = os.fstat(file.fileno()).st_size
            start, end = span if span is not None else (0, size)
            if not 0 <= start <= end <= size:
                raise BadInput(f"range {start}-{end} lies outside of {key}, which has {size} bytes")
            file.seek(start)
            left = end - start
            while left:
                try:
                    piece = file.read(min(_PIECE, left))
                except OSError as error:
                    raise _translated(error, key, self._root) from error
                if not piece:
                    raise StoreError(f"{key} became shorter while it was read from {self._root}; read it again")
                left -= len(piece)
                yield piece

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Store.list."""
        folder = prefix.rpartition("/")[0]
        if folder:
            self._path(folder)
        found = []
        try:
            for path in _files(self._root / folder):
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix):
                    found.append((key, path))
        except OSError as error:
            raise _translated(error, prefix, self._root) from error
        for key, path in sorted(found):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            yield ObjectInfo(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))

    def delete(self, keys: Iterable[str]) -> int:
        """See Store.delete. Folders that become empty are removed with their last object."""
        count = 0
        for key in keys:
            path = self._path(key)
            try:
                path.unlink()
                count += 1
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except OSError as error:
                raise _translated(error, key, self._root) from error
            self._drop_empty(path.parent)
        return count

    def head(self, key: str) -> ObjectInfo:
        """See Store.head. The digest is not known without reading, so it is None."""
        path = self._path(key)
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(key) from None
        except OSError as error:
            raise _translated(error, key, self._root) from error
        if path.is_dir():
            raise self._missing(key)
        return ObjectInfo(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))

    def sweep(self, older_than: datetime) -> int:
        """Removes temporary files of dead writers, last written before `older_than`; counts them."""
        count = 0
        for path in _files(self._root, parts=True):
            with contextlib.suppress(FileNotFoundError):  # its writer lives, and is done with it
                if path.stat().st_mtime < older_than.timestamp():
                    path.unlink()
                    count += 1
        return count

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*checked_key(key).split("/"))

    def _missing(self, key: str) -> ObjectMissing:
        return ObjectMissing(f"{key} is not in the store {self._root}")

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            # Made by another, and perhaps removed again: the open that follows finds out. (`exist_ok` would look, and fail.)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            _flush_folder(path.parent)

    def _drop_empty(self, folder: Path) -> None:
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:  # not empty, or a writer has just put something there: both mean that it stays
                return
            folder = folder.parent


class _Source:
    """The caller's chunks, which tells its errors from those of the disk: the caller's pass unchanged."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = chunks
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[Chunk]:
        try:
            yield from self._chunks
        except OSError as error:
            self._error = error
            raise

    def pass_on(self, error: OSError) -> None:
        if error is self._error:
            raise error


def _write(fd: int, chunks: Iterable[Chunk]) -> Stored:
    digest, size, flushed = hashlib.sha256(), 0, 0
    try:
        for chunk in chunks:
            digest.update(chunk)
            _write_all(fd, memoryview(chunk))
            size += len(chunk)
            if size - flushed >= _FLUSH_EVERY:
                os.posix_fadvise(fd, flushed, size - flushed, os.POSIX_FADV_DONTNEED)
                flushed = size
        os.fsync(fd)
    finally:
        os.close(fd)
    return Stored(size, digest.hexdigest())


def _write_all(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]


def _publish(part: Path, path: Path, *, if_absent: bool) -> None:
    if if_absent:
        os.link(part, path)
    else:
        part.rename(path)
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _files(folder: Path, *, parts: bool = False) -> Iterator[Path]:
    """The objects below `folder`, or with `parts` the temporary files."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        is_hidden = entry.name.startswith(".")
        if entry.is_dir(follow_symlinks=False):
            # No key begins with a dot. And where the store is a file system's root, fsck's folder is not ours.
            if not is_hidden and entry.name != "lost+found":
                yield from _files(Path(entry.path), parts=parts)
        elif is_hidden is parts and (not parts or _PART in entry.name):
            yield Path(entry.path)


def _translated(error: OSError, key: str, root: Path) -> StoreError:
    if error.errno in _FULL:
        return StoreFull(f"no room for {key} in the store {root} ({error.strerror}); free or add space, then run again")
    if error.errno in {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY}:
        return StoreUnavailable(f"the store {root} failed on {key}: {error.strerror}; check the disk or the mount")
    if error.errno == errno.ENAMETOOLONG:
        return StoreError(f"the key {key[:80]}… is too long for the store {root}")
    return StoreError(f"the store {root} failed on {key}: {error.strerror}; check its owner and its mode")
