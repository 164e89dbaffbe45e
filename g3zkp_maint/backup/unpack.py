"""A component's files, brought to a folder exactly as the snapshot has them: what it lacks there is removed. Or some of
them: then only what the selection matches is written, and only what it matches is removed.

Order: folders; contents, archive by archive; empty files, links and FIFOs; removal of all else; then modes, owners and
times of the folders, deepest first. Every step may be repeated: a file whose content is right already stays, so a run
that was killed goes on where it was. Paths are confined to the root: no step follows a link (confined.py), and a row
whose path would leave it is refused before anything is touched.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from blake3 import blake3

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.confined import Confined
from g3zkp_maint.backup.extract import Metadata, extract
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row, escape, unescape
from g3zkp_maint.backup.scan import scan, scan_below
from g3zkp_maint.backup.selection import Selection, in_walk_order, select
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import ManifestInvalid, RestoreError
from g3zkp_maint.progress import NoProgress, Progress

_PIECE = 1 << 20
_VERIFY_EVERY = 1000
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_PATH = re.compile(r"/\.{1,2}(/|\Z)|//|\0")
_OPEN_TO_US = 0o700


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was done: files written, files that were right already, paths removed, owners that could not be set."""

    written: int
    kept: int
    removed: int
    owners_not_set: int


@dataclass
class Unpacker:
    """Restores components into `root`, which stands for the messenger's data folder. `workers` archives at a time: in
    processes of their own with `forked` (only from a process without threads), else in threads."""

    repository: Repository
    root: Path
    guard: Guard
    progress: Progress = field(default_factory=NoProgress)
    workers: int = 1
    forked: bool = False

    def unpack(self, manifest: Manifest, component: str, selection: Selection | None = None) -> Unpacked:
        """Raises ManifestInvalid for a path that leaves the root, ArchiveCorrupt, LeaseLost, RestoreError where the
        target cannot be written; then run it again, or restore another backup: the target is between two states."""
        parents: tuple[Row, ...] = ()
        if selection is None:
            listed = [_slim(row) for row in self.repository.rows(manifest, component)]
        else:
            selected = select(self.repository, manifest, component, selection)
            listed, parents = list(selected.rows), selected.parents
        path = manifest.component(component).path or ""
        if selection is not None and not listed and not os.path.lexists(self.root / path):
            return Unpacked(0, 0, 0, 0)
        _refuse_unconfined([*listed, *parents], path)
        _refuse_unknown_archives(listed, manifest)
        try:
            return self._unpack(manifest, path, listed, parents, selection)
        except OSError as error:
            hint = (
                "free some space" if error.errno in _FULL else "check that it is writable and no other process is in it"
            )
            raise RestoreError(f"{self.root} cannot be written: {error.strerror}; {hint}, then go on") from error

    def _unpack(
        self, manifest: Manifest, path: str, listed: list[Row], parents: Sequence[Row], selection: Selection | None
    ) -> Unpacked:
        self.root.mkdir(parents=True, exist_ok=True)
        self.guard.verify()
        with Confined(self.root) as confined:
            layout = _Layout(confined, self.guard)
            layout.make_parents(path, parents)
            layout.make_folders(listed)
            by_archive, kept = layout.missing_content(listed)
            owners = self._extract(manifest, by_archive)
            layout.make_bare(listed)
            removed = layout.remove_others(self.root, path, listed, selection)
            layout.set_folders(listed, parents)
        written = sum(len(wanted) for wanted in by_archive.values())
        return Unpacked(written, kept, removed, owners + layout.metadata.owners_not_set)

    def _extract(self, manifest: Manifest, by_archive: dict[int, list[Row]]) -> int:
        archives = {archive.id: archive for archive in manifest.archives}

        def work(id: int, progress: Progress) -> int:
            return extract(
                self.repository, archives[id], by_archive[id], self.root, guard=self.guard, progress=progress
            )

        if self.workers < 2 or len(by_archive) < 2:
            return sum(work(number, self.progress) for number in by_archive)
        largest_first = sorted(by_archive, key=lambda number: -archives[number].size)
        if self.forked:
            return self._extract_forked(work, largest_first, by_archive)
        with ThreadPoolExecutor(self.workers) as pool:
            return sum(pool.map(lambda number: work(number, self.progress), largest_first))

    def _extract_forked(
        self, work: Callable[[int, Progress], int], numbers: list[int], by_archive: dict[int, list[Row]]
    ) -> int:
        """Keys cannot be pickled, and need not be: the children are forked and inherit them."""
        global _inherited  # noqa: PLW0603 - read by the children only
        _inherited = work
        owners = 0
        try:
            pool: Executor
            with ProcessPoolExecutor(self.workers, mp_context=multiprocessing.get_context("fork")) as pool:
                for number, count in zip(numbers, pool.map(_work_inherited, numbers), strict=True):
                    owners += count
                    self.progress.advance(sum(row.size for row in by_archive[number]), len(by_archive[number]))
        finally:
            _inherited = None
        return owners


_inherited: Callable[[int, Progress], int] | None = None


def _work_inherited(number: int) -> int:
    if _inherited is None:
        raise AssertionError("a child was started without its inheritance")
    return _inherited(number, NoProgress())


#: One object for each kind, where a decoder makes one for each row.
_KINDS = {kind: kind for kind in (rows.FILE, rows.SPARSE, rows.FOLDER, rows.SYMLINK, rows.HARDLINK, rows.FIFO)}


def _slim(row: Row) -> Row:
    """Without what only a comparison needs: with a million rows in memory that is a fifth of them."""
    row.kind = _KINDS.get(row.kind, row.kind)
    row.ctime_ns = row.inode = 0
    return row


def _refuse_unconfined(listed: Iterable[Row], top: str) -> None:
    """Looks at the bytes that the names stand for: an escape may write a dot or a slash as well."""
    within = escape(os.fsencode(top))
    for row in listed:
        for path in (row.path, row.link) if row.kind == rows.HARDLINK else (row.path,):
            if not _is_confined(path, within):
                raise ManifestInvalid(
                    f"the index holds the path {path!r}, which leads out of {top!r}; do not restore this backup"
                )


def _is_confined(path: str, top: str) -> bool:
    if path != top and not path.startswith(f"{top}/"):
        return False
    # Confined refuses empty and dotted steps too, but by then something may have been touched.
    plain = path if "\\" not in path else unescape(path).decode("latin-1")
    return not (("/." in plain or "//" in plain or "\0" in plain) and _NO_PATH.search(plain))


def _refuse_unknown_archives(listed: Iterable[Row], manifest: Manifest) -> None:
    named = {archive.id for archive in manifest.archives}
    unknown = {row.archive for row in listed if row.kind in rows.WITH_CONTENT} - named
    if unknown:
        raise ManifestInvalid(
            f"the index of {manifest.name} refers to archives that its manifest does not name: {sorted(unknown)}; "
            "do not restore this backup"
        )


class _Layout:
    """The tree without its contents."""

    def __init__(self, confined: Confined, guard: Guard) -> None:
        self._confined = confined
        self._guard = guard
        self._new_folders: set[str] = set()
        self._modes_to_restore: dict[str, int] = {}
        self.metadata = Metadata()

    def make_parents(self, top: str, parents: Iterable[Row]) -> None:
        """The folders above what is restored. Those that are there stay as they are, whatever else is in them. Raises
        RestoreError where something that is no folder is in the way: to remove it was not asked for."""
        above = [parent.as_posix() for parent in reversed(PurePosixPath(top).parents) if parent.name]
        for path in [*above, *(row.path for row in parents)]:
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
            raise RestoreError(
                f"{path!r} is no folder, and a part of the backup is to go below it; move it away, or select it as well"
            )
        if _open_to_us(folder, name, found):
            self._modes_to_restore[path] = stat.S_IMODE(found.st_mode)

    def make_folders(self, listed: Iterable[Row]) -> None:
        """Those of the snapshot, open to us only until the end; something else in the place of one is removed."""
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
        """The rows whose content must be written, by archive and offset, and how many files are right already."""
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
        """Symbolic and hard links and FIFOs, after the files that hard links need."""
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

    def remove_others(self, root: Path, top: str, listed: Iterable[Row], selection: Selection | None) -> int:
        """Removes what the snapshot lacks, of the selection only, children first; what the backup left out stays, as
        nothing is known of it."""
        wanted = {row.path.rstrip("/") for row in listed}
        shut = tuple(row.path for row in listed if row.kind == rows.LEFT_OUT and row.path.endswith("/"))
        found = scan(root, top) if selection is None else (r for r in scan(root, top) if selection.matches(r.path))
        others = [row for row in found if row.path not in wanted and not (shut and row.path.startswith(shut))]
        for count, row in enumerate(reversed(others)):
            if count % _VERIFY_EVERY == 0:
                self._guard.verify()
            self._remove(row)
        return len(others)

    def set_folders(self, listed: Sequence[Row], parents: Sequence[Row]) -> None:
        made = [row for row in parents if row.path in self._new_folders]
        folders = [row for row in listed if row.kind == rows.FOLDER]
        for row in reversed(in_walk_order([*made, *folders]) if made else folders):
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
