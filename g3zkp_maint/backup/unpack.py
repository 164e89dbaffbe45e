"""A component's files, brought to a folder exactly as the snapshot has them: what it lacks there is removed. Or some of
them: then only what the selection matches is written, and only what it matches is removed.

Order: folders; contents, archive by archive; empty files, links and FIFOs; removal of all else; then modes, owners and
times of the folders, deepest first. Every step may be repeated: a file whose content is right already stays, so a run
that was killed goes on where it was. Paths are confined to the root: no step follows a link (target.py), and a row whose
path would leave it is refused before anything is touched.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row, escape, unescape
from g3zkp_maint.backup.selection import Selection, select
from g3zkp_maint.backup.target import Target
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import ManifestInvalid, RestoreError
from g3zkp_maint.progress import NoProgress, Progress

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_PATH = re.compile(r"/\.{1,2}(/|\Z)|//|\0")


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was done: files written, files that were right already, paths removed, owners that could not be set."""

    written: int
    kept: int
    removed: int
    owners_not_set: int


@dataclass
class Unpacker:
    """Restores components into `target`, which stands for the messenger's data folder; `workers` archives at a time, each
    in a thread."""

    repository: Repository
    target: Target
    guard: Guard
    progress: Progress = field(default_factory=NoProgress)
    workers: int = 1

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
        if selection is not None and not listed and not self.target.has(path):
            return Unpacked(0, 0, 0, 0)
        _refuse_unconfined([*listed, *parents], path)
        _refuse_unknown_archives(listed, manifest)
        try:
            return self._unpack(manifest, path, listed, parents, selection)
        except OSError as error:
            hint = (
                "free some space" if error.errno in _FULL else "check that it is writable and no other process is in it"
            )
            raise RestoreError(f"{self.target.name} cannot be written: {error.strerror}; {hint}, then go on") from error

    def _unpack(
        self, manifest: Manifest, path: str, listed: list[Row], parents: Sequence[Row], selection: Selection | None
    ) -> Unpacked:
        self.guard.verify()
        with self.target.layout(self.guard) as layout:
            layout.make_parents(path, parents)
            layout.make_folders(listed)
            by_archive, kept = layout.missing_content(listed)
            owners = self._extract(manifest, by_archive)
            layout.make_bare(listed)
            removed = layout.remove_others(path, listed, selection)
            layout.set_folders(listed, parents)
        written = sum(len(wanted) for wanted in by_archive.values())
        return Unpacked(written, kept, removed, owners + layout.owners_not_set)

    def _extract(self, manifest: Manifest, by_archive: dict[int, list[Row]]) -> int:
        archives = {archive.id: archive for archive in manifest.archives}

        def work(number: int) -> int:
            archive, wanted = archives[number], by_archive[number]
            owners = self.target.extract(self.repository, archive, wanted, guard=self.guard, progress=self.progress)
            self.repository.release(archive)
            return owners

        if self.workers < 2 or len(by_archive) < 2:
            return sum(map(work, by_archive))
        with ThreadPoolExecutor(self.workers) as pool:
            return sum(pool.map(work, sorted(by_archive, key=lambda number: -archives[number].size)))


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
