"""Where files are restored to: a port with two adapters, a mounted folder and a pod that is written to by exec.

Both bring a folder to the state of a snapshot in the same steps (unpack.py), each of which may be repeated, and neither
is led out of its root by what the tree or the index holds. Both raise OSError as the system says it of the target,
LeaseLost, and RestoreError; the one by exec TemporaryErrors as well, when a stream broke: then the step is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from g3zkp_maint.backup.manifest import Archive
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row
from g3zkp_maint.backup.selection import Selection
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.progress import Progress


class Layout(Protocol):
    """The tree without its contents, in the order of these calls."""

    @property
    def owners_not_set(self) -> int:
        """How many owners it was not allowed to set."""
        ...

    def make_parents(self, top: str, parents: Iterable[Row]) -> None:
        """The folders above what is restored. Those that are there stay as they are, whatever else is in them. Raises
        RestoreError where something that is no folder is in the way: to remove it was not asked for."""
        ...

    def make_folders(self, listed: Iterable[Row]) -> None:
        """Those of the snapshot, open to us only until the end; something else in the place of one is removed."""
        ...

    def missing_content(self, listed: Iterable[Row]) -> tuple[dict[int, list[Row]], int]:
        """The rows whose content must be written, by archive and offset, and how many files are right already; those
        get their metadata."""
        ...

    def make_bare(self, listed: Iterable[Row]) -> None:
        """Symbolic and hard links and FIFOs, after the files that hard links need."""
        ...

    def remove_others(self, top: str, listed: Iterable[Row], selection: Selection | None) -> int:
        """Removes what the snapshot lacks, of the selection only, children first, and returns how many paths; what the
        backup left out stays, as nothing is known of it."""
        ...

    def set_folders(self, listed: Sequence[Row], parents: Sequence[Row]) -> None:
        """Modes, owners and times of the folders of the snapshot, and of `parents` that were made, deepest first."""
        ...


class Target(Protocol):
    """A folder that stands for the messenger's data folder."""

    @property
    def name(self) -> str:
        """For messages: where it is."""
        ...

    def has(self, path: str) -> bool:
        """Whether anything is at `path`."""
        ...

    def layout(self, guard: Guard) -> AbstractContextManager[Layout]:
        """Makes the root where it is missing."""
        ...

    def extract(
        self, repository: Repository, archive: Archive, wanted: Sequence[Row], *, guard: Guard, progress: Progress
    ) -> int:
        """Writes the content of `wanted` (rows in this archive, by offset); their folders must exist.

        Returns how many owners could not be set. Raises ArchiveCorrupt, naming archive and file."""
        ...

    def settle(self) -> None:
        """Returns when all that was written would survive the machine."""
        ...
