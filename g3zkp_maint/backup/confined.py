"""Folders below a root, reached by descriptors and never through a link.

Each step from the root is opened with O_NOFOLLOW relative to the one before (`openat`), so whoever can write the tree
cannot lead a reader or a restore out of it by swapping a folder for a symbolic link, not even in between two calls.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Confined:
    """Holds the chain of open folders from the root to the one used last: neighbours cost nothing.

    Raises OSError as the calls do: ELOOP or ENOTDIR where a step is a link or no folder, ENOENT where it is missing.
    """

    def __init__(self, root: Path) -> None:
        self._chain: list[tuple[bytes, int]] = [(b"", os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))]
        self._last = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        while self._chain:
            os.close(self._chain.pop()[1])

    def locate(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the folder that holds `path`, and the name in it. The descriptor stays ours."""
        folder, _, name = path.rpartition(b"/")
        return self.folder(folder), name

    def folder(self, folder: bytes) -> int:
        """The descriptor of a folder, b"" for the root. It stays ours and lives until another one is asked for."""
        if folder == self._last:
            return self._chain[-1][1]
        steps = folder.split(b"/") if folder else []
        self._leave_to_common(steps)
        for step in steps[len(self._chain) - 1 :]:
            if step in {b"", b".", b".."}:
                raise NotADirectoryError(f"{folder!r} is not a confined path")
            self._chain.append((step, os.open(step, _FOLDER, dir_fd=self._chain[-1][1])))
        self._last = folder
        return self._chain[-1][1]

    def _leave_to_common(self, steps: list[bytes]) -> None:
        common = 0
        for (step, _), wanted in zip(self._chain[1:], steps, strict=False):
            if step != wanted:
                break
            common += 1
        while len(self._chain) > common + 1:
            os.close(self._chain.pop()[1])
        self._last = b"/".join(step for step, _ in self._chain[1:])
