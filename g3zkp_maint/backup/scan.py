"""The walk over a mounted tree: what is there, without reading any content."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.confined import Confined
from g3zkp_maint.backup.row import Row, escape
from g3zkp_maint.backup.source import Status
from g3zkp_maint.errors import SourceError

_KIND = {stat.S_IFDIR: rows.FOLDER, stat.S_IFLNK: rows.SYMLINK, stat.S_IFIFO: rows.FIFO, stat.S_IFREG: rows.FILE}
_LEFT_OUT = {stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}


def scan(root: Path, path: str) -> Iterator[Row]:
    """Every path at and below `root/path`, in walk order, paths relative to `root`.

    Folders are opened without following links. What vanishes while the walk goes on is left out; a folder that cannot
    be read is a row of kind LEFT_OUT ("unreadable"). Raises SourceError when `root/path` itself is no readable folder.
    """
    try:
        with Confined(root) as confined:
            yield from scan_below(confined, os.fsencode(path))
    except FileNotFoundError:
        raise SourceError(f"{root / path} is not there; is the messenger's volume mounted at {root}?") from None
    except OSError as error:
        raise SourceError(
            f"{root / path} cannot be walked: {error.strerror or error}; it must be a folder that we may read, "
            "and no link: check the mount and its owner"
        ) from error


def scan_below(confined: Confined, top: bytes) -> Iterator[Row]:
    """As `scan`, below a root that is open already. Raises OSError."""
    folder, name = confined.locate(top)
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    # A link in the place of the folder, or one that we may not read, would be a backup of nothing.
    confined.folder(top)
    yield from _Walk(confined).at(top, found)


class _Walk:
    def __init__(self, confined: Confined) -> None:
        self._confined = confined
        self._rows = Rows()

    def at(self, top: bytes, found: os.stat_result) -> Iterator[Row]:
        """The row of a folder, then those of all that it holds, however deep."""
        pending = [iter([(top, found)])]
        while pending:
            path, child = next(pending[-1], (b"", None))
            if child is None:
                pending.pop()
                continue
            yield self._row(path, child)
            if not stat.S_ISDIR(child.st_mode):
                continue
            try:
                pending.append(iter(self._list(path)))
            except FileNotFoundError:
                continue
            except OSError as error:
                yield left_out(path + b"/", child, f"unreadable: {error.strerror}")

    def _list(self, path: bytes) -> list[tuple[bytes, os.stat_result]]:
        listing = []
        with os.scandir(self._confined.folder(path)) as entries:
            for entry in entries:
                try:
                    listing.append((path + b"/" + os.fsencode(entry.name), entry.stat(follow_symlinks=False)))
                except FileNotFoundError:
                    continue
        listing.sort(key=_path)
        return listing

    def _row(self, path: bytes, found: os.stat_result) -> Row:
        target = self._target(path) if stat.S_ISLNK(found.st_mode) else b""
        return self._rows.row(path, found, target)

    def _target(self, path: bytes) -> bytes:
        folder, name = self._confined.locate(path)
        try:
            return os.fsencode(os.readlink(name, dir_fd=folder))
        except OSError:  # gone or replaced since it was listed; no link has an empty target
            return b""


class Listed(Status, Protocol):
    """A status as `lstat` tells it in a walk."""

    @property
    def st_nlink(self) -> int: ...
    @property
    def st_dev(self) -> int: ...
    @property
    def st_blocks(self) -> int: ...


class Rows:
    """The rows of one walk. Remembers the first path of each hard-linked file."""

    def __init__(self) -> None:
        self._first_links: dict[tuple[int, int], str] = {}

    def row(self, path: bytes, found: Listed, target: bytes) -> Row:
        """The row of what is at `path`; `target` is that of a symbolic link, empty where it vanished."""
        form = stat.S_IFMT(found.st_mode)
        if form in _LEFT_OUT:
            return left_out(path, found, _LEFT_OUT[form])
        kind, link = _KIND[form], ""
        if kind is rows.SYMLINK:
            link = escape(target)
            if not link:
                return left_out(path, found, "vanished")
        elif kind is rows.FILE:
            kind, link = self._file_kind(path, found)
        return Row(
            escape(path),
            kind,
            stat.S_IMODE(found.st_mode),
            found.st_uid,
            found.st_gid,
            found.st_mtime_ns,
            found.st_size if kind in rows.WITH_CONTENT else 0,
            found.st_ctime_ns,
            found.st_ino,
            link=link,
        )

    def _file_kind(self, path: bytes, found: Listed) -> tuple[str, str]:
        if found.st_nlink > 1:
            first = self._first_links.setdefault((found.st_dev, found.st_ino), escape(path))
            if first != escape(path):
                return rows.HARDLINK, first
        has_holes = found.st_blocks * 512 < found.st_size and found.st_size > 4096
        return (rows.SPARSE if has_holes else rows.FILE), ""


def _path(item: tuple[bytes, os.stat_result]) -> bytes:
    return item[0]


def left_out(path: bytes, found: Status, why: str) -> Row:
    """The row of a path that is seen and not stored."""
    kind = rows.LEFT_OUT
    return Row(escape(path), kind, 0, 0, 0, 0, 0, found.st_ctime_ns, found.st_ino, link=why)
