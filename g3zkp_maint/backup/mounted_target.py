"""The target that is a folder: the messenger's volume, mounted here, or any other place."""

from __future__ import annotations

import os
import stat
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.confined import Confined
from g3zkp_maint.backup.extract import Metadata, extract
from g3zkp_maint.backup.layout import folders_above, folders_deepest_first, in_the_way, others_than
from g3zkp_maint.backup.manifest import Archive
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row, unescape
from g3zkp_maint.backup.scan import scan, scan_below
from g3zkp_maint.backup.selection import Selection
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.progress import Progress

_PIECE = 1 << 20
#: Archives whose files have fewer bytes on average are written one at a time: two threads that make a system call every few
#: microseconds wait for the interpreter's lock more than they gain, 100,000 files took a tenth longer.
_SMALL = 32 << 10
_VERIFY_EVERY = 1000
_OPEN_TO_US = 0o700


@dataclass(frozen=True)
class MountedTarget:
    """See Target."""

    root: Path
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """See Target.name."""
        return str(self.root)

    def has(self, path: str) -> bool:
        """See Target.has."""
        return os.path.lexists(self.root / path)

    @contextmanager
    def layout(self, guard: Guard) -> Iterator[_Layout]:
        """See Target.layout."""
        self.root.mkdir(parents=True, exist_ok=True)
        with Confined(self.root) as confined:
            yield _Layout(self.root, confined, guard)

    def extract(
        self, repository: Repository, archive: Archive, wanted: Sequence[Row], *, guard: Guard, progress: Progress
    ) -> int:
        """See Target.extract."""
        mean = sum(row.size for row in wanted) // max(len(wanted), 1)
        with self._turn if mean < _SMALL else nullcontext():
            return extract(repository, archive, wanted, self.root, guard=guard, progress=progress)

    def settle(self) -> None:
        """See Target.settle. What was written is all over the tree."""
        os.sync()


class _Layout:
    """See Layout."""

    def __init__(self, root: Path, confined: Confined, guard: Guard) -> None:
        self._root = root
        self._confined = confined
        self._guard = guard
        self._new_folders: set[str] = set()
        self._modes_to_restore: dict[str, int] = {}
        self.metadata = Metadata()

    @property
    def owners_not_set(self) -> int:
        """See Layout.owners_not_set."""
        return self.metadata.owners_not_set

    def make_parents(self, top: str, parents: Iterable[Row]) -> None:
        """See Layout.make_parents."""
        for path in [*folders_above(top), *(row.path for row in parents)]:
            self._make_parent(path)

    def _make_parent(self, path: str) -> None:
        folder, name = self._confined.locate(unescape(path))
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        else:
            self._new_folders.add(path)
            return
        if not stat.S_ISDIR(found.st_mode):
            raise in_the_way(path)
        if _open_to_us(folder, name, found):
            self._modes_to_restore[path] = stat.S_IMODE(found.st_mode)

    def make_folders(self, listed: Iterable[Row]) -> None:
        """See Layout.make_folders."""
        for row in listed:
            if row.kind == rows.FOLDER:
                self._make_folder(row.path)

    def _make_folder(self, path: str) -> None:
        folder, name = self._confined.locate(unescape(path))
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
            self._new_folders.add(path)
        except FileExistsError:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                _open_to_us(folder, name, found)
                return
            self._guard.ensure_held()
            os.unlink(name, dir_fd=folder)
            os.mkdir(name, 0o700, dir_fd=folder)
            self._new_folders.add(path)

    def missing_content(self, listed: Iterable[Row]) -> tuple[dict[int, list[Row]], int]:
        """See Layout.missing_content."""
        by_archive: dict[int, list[Row]] = defaultdict(list)
        kept = 0
        for row in listed:
            if row.kind not in rows.WITH_CONTENT:
                continue
            is_new = row.path.rpartition("/")[0] in self._new_folders
            if not is_new and self._is_right(row):
                kept += 1
            else:
                by_archive[row.archive].append(row)
        for wanted in by_archive.values():
            wanted.sort(key=lambda row: row.offset)
        return by_archive, kept

    def _is_right(self, row: Row) -> bool:
        """Whether the file is there with this very content; then it gets its metadata."""
        folder, name = self._confined.locate(unescape(row.path))
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            return False
        try:
            found = os.fstat(fd)
            if stat.S_ISDIR(found.st_mode):
                self._unlink(unescape(row.path))
                return False
            is_plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size == row.size
            if not is_plain or _digest(fd) != row.digest:
                return False
            self._guard.ensure_held()
            self.metadata.set(fd, row)
            return True
        finally:
            os.close(fd)

    def make_bare(self, listed: Iterable[Row]) -> None:
        """See Layout.make_bare."""
        for row in listed:
            if row.kind in {rows.SYMLINK, rows.HARDLINK, rows.FIFO}:
                self._make_bare(row)

    def _make_bare(self, row: Row) -> None:
        name = unescape(row.path)
        self._unlink(name)
        if row.kind == rows.HARDLINK:
            first_folder, first = self._confined.locate(unescape(row.link))
            source = os.open(first, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=first_folder)
            try:
                folder, name = self._confined.locate(name)
                os.link(f"/proc/self/fd/{source}", name, dst_dir_fd=folder, follow_symlinks=True)
            finally:
                os.close(source)
            return
        folder, name = self._confined.locate(name)
        if row.kind == rows.SYMLINK:
            os.symlink(unescape(row.link), name, dir_fd=folder)
        else:
            os.mkfifo(name, row.mode, dir_fd=folder)
            os.chmod(name, row.mode, dir_fd=folder)
        self._own(folder, name, row)
        os.utime(name, ns=(row.mtime_ns, row.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _own(self, folder: int, name: bytes, row: Row) -> None:
        try:
            os.chown(name, row.uid, row.gid, dir_fd=folder, follow_symlinks=False)
        except PermissionError:
            self.metadata.owners_not_set += 1

    def _unlink(self, path: bytes) -> None:
        """Removes whatever is at `path`, also a folder with all that it holds."""
        folder, name = self._confined.locate(path)
        try:
            self._guard.ensure_held()
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            for row in reversed(list(scan_below(self._confined, path))):
                self._remove(row)

    def _remove(self, row: Row) -> None:
        self._guard.ensure_held()
        folder, name = self._confined.locate(unescape(row.path))
        if row.kind == rows.FOLDER:
            os.rmdir(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)

    def remove_others(self, top: str, listed: Iterable[Row], selection: Selection | None) -> int:
        """See Layout.remove_others."""
        if top in self._new_folders:
            return 0  # all that is in it we have put there
        others = others_than(scan(self._root, top), listed, selection)
        for count, row in enumerate(reversed(others)):
            if count % _VERIFY_EVERY == 0:
                self._guard.verify()
            self._remove(row)
        return len(others)

    def set_folders(self, listed: Sequence[Row], parents: Sequence[Row]) -> None:
        """See Layout.set_folders."""
        for row in folders_deepest_first(listed, parents, self._new_folders):
            self.metadata.set(self._confined.folder(unescape(row.path)), row)
        for path, mode in sorted(self._modes_to_restore.items(), reverse=True):
            os.fchmod(self._confined.folder(unescape(path)), mode)


def _open_to_us(folder: int, name: bytes, found: os.stat_result) -> bool:
    """A folder that its owner may not write is made writable until its modes are set at the end. Whether it had to be."""
    if found.st_mode & _OPEN_TO_US == _OPEN_TO_US or os.geteuid() == 0:
        return False
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        Path(f"/proc/self/fd/{fd}").chmod(stat.S_IMODE(found.st_mode) | _OPEN_TO_US)
    finally:
        os.close(fd)
    return True


def _digest(fd: int) -> str:
    hasher = blake3()
    for piece in _pieces(fd):
        hasher.update(piece)
    return hasher.hexdigest()


def _pieces(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, _PIECE):
        yield piece
