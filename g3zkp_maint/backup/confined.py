"""Folders below a root, reached by descriptors and never through a link.

Each step from the root is opened with O_NOFOLLOW relative to the one before (`openat`), so whoever can write the tree
cannot lead a reader or a restore out of it by swapping a folder for a symbolic link, not even in between two calls.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


#: Descriptors that one chain keeps at most, however deep the tree; the usual limit of a process is 1,024.
_OPEN_FOLDERS = 64


class Confined:
    """Holds the chain of open folders from the root to the one used last: neighbours cost nothing.

    Of a deeper chain only the last folders stay open; the way back up is then opened anew from the root. Raises OSError
    as the calls do: ELOOP or ENOTDIR where a step is a link or no folder, ENOENT where it is missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._steps: list[bytes] = []
        self._open: deque[int] = deque()  # of the last steps, the last one at the end
        self._last: bytes | None = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._leave_to(0)
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def locate(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the folder that holds `path`, and the name in it. The descriptor stays ours."""
        folder, _, name = path.rpartition(b"/")
        return self.folder(folder), name

    def folder(self, folder: bytes) -> int:
        """The descriptor of a folder, b"" for the root. It stays ours and lives until another one is asked for."""
        if folder != self._last:
            self._last = None  # a step that fails leaves the chain somewhere between the two
            self._go(folder)
            self._last = folder
        return self._open[-1] if self._open else self._root

    def _go(self, folder: bytes) -> None:
        steps = folder.split(b"/") if folder else []
        self._leave_to(_common(self._steps, steps))
        for step in steps[len(self._steps) :]:
            if step in {b"", b".", b".."}:
                raise NotADirectoryError(errno.ENOTDIR, "no confined path", folder)
            self._open.append(os.open(step, _FOLDER, dir_fd=self._open[-1] if self._open else self._root))
            self._steps.append(step)
            if len(self._open) > _OPEN_FOLDERS:
                os.close(self._open.popleft())

    def _leave_to(self, depth: int) -> None:
        while len(self._steps) > depth:
            self._steps.pop()
            if self._open:
                os.close(self._open.pop())
        if not self._open:
            self._steps.clear()


def _common(one: list[bytes], other: list[bytes]) -> int:
    """How many steps two paths share from their beginning."""
    for depth, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return depth
    return min(len(one), len(other))
