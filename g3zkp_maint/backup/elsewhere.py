"""The folder that a restore elsewhere goes into: empty, or left by an attempt that did not come to its end.

A restore makes a component's folder exactly what the snapshot has, and so removes what else is in it. A marker in the
folder, there from before the first file until after the last, tells an attempt of ours from somebody's data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g3zkp_maint.errors import BadInput

MARKER = ".g3zkp-restore.json"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A restore of `backup` into a folder, under way; `components` and `paths` as they were asked for, () for all."""

    backup: str
    components: tuple[str, ...]
    paths: tuple[str, ...] = ()


def former_attempt(folder: Path) -> Attempt | None:
    """The attempt that left its marker, or None. Raises BadInput where the marker is not ours to understand."""
    try:
        document: Any = json.loads((folder / MARKER).read_bytes())
        components, paths = document["components"], document.get("paths", [])
        return Attempt(str(document["backup"]), tuple(map(str, components)), tuple(map(str, paths)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{folder / MARKER} cannot be read as the marker of a restore; name another folder") from None


def choose_attempt(
    folder: Path,
    backup: str,
    components: Sequence[str],
    paths: Sequence[str] = (),
    *,
    overwrite: bool,
    data_root: Path,
) -> Attempt:
    """The attempt to carry out: a former one of this backup is gone on with, with its components and paths where none
    are given.

    Raises BadInput for a folder that holds something else (unless `overwrite`), that is none, or that is in the
    messenger's own data folder `data_root`: that one is restored with the messenger stopped, or not at all.
    """
    if folder.resolve().is_relative_to(data_root.resolve()):
        raise BadInput(f"{folder} is in the messenger's data folder {data_root}; restore that without --to")
    former = former_attempt(folder)
    asked = Attempt(backup, tuple(components), tuple(paths))
    if former is not None and asked in {Attempt(former.backup, ()), former}:
        return former
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is no folder; name an empty or a new one")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        holds = f"an unfinished restore of {former.backup}" if former else "something already"
        raise BadInput(
            f"{folder} holds {holds}, and the restored folders would lose what the backup lacks; name an empty folder, "
            "or give --overwrite"
        )
    return asked


def begin(folder: Path, attempt: Attempt) -> None:
    """Raises BadInput where the folder cannot be made or written."""
    document = {"backup": attempt.backup, "components": attempt.components, "paths": attempt.paths}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text(json.dumps(document) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}; name another folder") from error


def end(folder: Path) -> None:
    (folder / MARKER).unlink(missing_ok=True)
