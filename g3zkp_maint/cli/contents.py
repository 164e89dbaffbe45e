"""`backup cat` and `backup diff`: one file of a backup, and what differs between two."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from g3zkp_maint.backup.diff import Change, Difference, differences
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.one_file import find_file, read_file
from g3zkp_maint.backup.one_object import copy_to_file
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import escape
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli.output import human_bytes, printable, say
from g3zkp_maint.cli.which import Name, manifest_of
from g3zkp_maint.errors import BadInput

CAT_EPILOG = """\
\b
Examples:
  g3zkp-maint backup cat NAME ipfs/config                     onto the terminal
  g3zkp-maint backup cat latest ipfs/blocks/AB/CIQ.data | sha256sum
  g3zkp-maint backup cat NAME keys/identity -o identity       a new file, that only you can read
"""

DIFF_EPILOG = """\
\b
Examples:
  g3zkp-maint backup diff OLD NEW                 + added  - removed  ~ other content  . other mode, owner or time
  g3zkp-maint backup diff OLD latest --json | jq -r 'select(.change=="removed").path'
"""

_SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.CONTENT: "~", Change.METADATA: "."}
#: What a terminal obeys or cannot show.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LOOKED_AT = 64 << 10

Other = Annotated[str, typer.Argument(metavar="NAME", help="The one to compare it with, or: latest.")]


# -- cat -----------------------------------------------------------------------------------------------------------------


def cat(
    name: Name,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The file, relative to the messenger's data folder.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file, that only you can read. Default: stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Show it on a terminal, whatever is in it.")] = False,
) -> None:
    """One file out of a backup, checked against its digest. Needs the recovery identity. Exit code 1 when it is not whole."""
    repository = Services().repository
    manifest = manifest_of(repository, name)
    row = find_file(repository, manifest, escape(os.fsencode(path.rstrip("/"))))
    pieces = iter(read_file(repository, manifest, row))
    if output is not None:
        copy_to_file(pieces, output)
        return
    first = next(pieces, b"")
    if sys.stdout.isatty() and not force and _is_binary(first):
        raise BadInput(f"{path} is no text, and a terminal obeys what it is sent: use a pipe, -o FILE or --force")
    for piece in chain([first], pieces):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _is_binary(content: bytes) -> bool:
    head = content[:_LOOKED_AT]
    if _CONTROL.search(head):
        return True
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) - error.start > 3 or len(content) <= _LOOKED_AT  # else a character that was cut in two
    return False


# -- diff ----------------------------------------------------------------------------------------------------------------


def diff(
    name: Name,
    other: Other,
    component: Annotated[str | None, typer.Option("--component", "-c", help="Only of this component.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What changed from one backup to another: files added, removed, with other content, or only with other metadata."""
    repository = Services().repository
    before, after = manifest_of(repository, name), manifest_of(repository, other)
    counts: Counter[Change] = Counter()
    sizes: Counter[Change] = Counter()
    for found in _differences(repository, before, after, component):
        counts[found.change] += 1
        sizes[found.change] += found.after if found.after is not None else found.before or 0
        sys.stdout.write((json.dumps(asdict(found)) if as_json else _line(found)) + "\n")
    if not as_json:
        told = [f"{counts[change]} {change} ({human_bytes(sizes[change])})" for change in Change if counts[change]]
        say(", ".join(told) or "no difference")


def _differences(
    repository: Repository, before: Manifest, after: Manifest, component: str | None
) -> Iterator[Difference]:
    names = dict.fromkeys(one.name for manifest in (before, after) for one in manifest.components)
    if component is not None and component not in names:
        raise BadInput(f"neither backup has a component {component!r}; they have {', '.join(names)}")
    for name in [component] if component is not None else names:
        if any(one.index for manifest in (before, after) for one in manifest.components if one.name == name):
            left, right = (repository.rows_raw(manifest, name) for manifest in (before, after))
            yield from differences((row for row, _ in left), (row for row, _ in right))
        else:
            yield from _whole(before, after, name)


def _whole(before: Manifest, after: Manifest, name: str) -> Iterator[Difference]:
    """A component that is one object, by its digest; its name stands for its path."""
    one, other = (
        next((archive for archive in reversed(manifest.archives) if archive.component == name), None)
        for manifest in (before, after)
    )
    if one is not None and other is not None and one.blake3 == other.blake3:
        return
    change = Change.CONTENT if one and other else Change.REMOVED if one else Change.ADDED
    yield Difference(change, name, one.plain_size if one else None, other.plain_size if other else None)


def _line(found: Difference) -> str:
    sizes = [human_bytes(size) for size in (found.before, found.after) if size is not None]
    size = sizes[0] if len(set(sizes)) == 1 else " > ".join(sizes)
    return f"{_SIGNS[found.change]} {size:>21}  {printable(found.path)}"
