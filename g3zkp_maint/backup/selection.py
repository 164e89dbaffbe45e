"""Some of a snapshot's paths, by globs: what a partial restore brings back, and the only thing that it may remove.

    *  any name or part of one      **  any number of folders      ?  one character      [ab] [!ab]  one of, none of

A pattern stands for the paths that it matches, relative to the messenger's data folder, each with all that is below it:
so what is to be removed for a file in a folder's place was selected as well. A backslash takes the next character as it
is. Patterns are compared byte by byte, with what the path was in the file system.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.restore_plan import SAFETY_PREFIX
from g3zkp_maint.backup.row import Row, escape, unescape, walk_key
from g3zkp_maint.errors import BadInput, ManifestInvalid

_TOKEN = re.compile(rb"\*\*/?|\*|\?|\[!?\]?[^\]/]*\]|\\.|.", re.DOTALL)


class Selection:
    """The globs, as one question. Raises BadInput for a pattern that leads nowhere."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        either = b"|".join(_regex(_checked(pattern)) for pattern in patterns)
        self._match = re.compile(rb"(?:%b)(?:/.*)?" % either, re.DOTALL).fullmatch

    def matches(self, path: str) -> bool:
        """Whether the path, as rows write it, is one of those, or below one."""
        return self._match(unescape(path)) is not None


@dataclass(frozen=True, slots=True)
class Selected:
    """Rows of a component in walk order: those selected, and as `parents` the folders around them that are not.

    A hard link whose first path is not among them is a file of its own: what is not selected is not linked with.
    """

    component: str
    rows: tuple[Row, ...]
    parents: tuple[Row, ...]

    @property
    def archives(self) -> frozenset[int]:
        return frozenset(row.archive for row in self.rows if row.kind in rows.WITH_CONTENT)

    @property
    def bytes(self) -> int:
        return sum(row.size for row in self.rows if row.kind in rows.WITH_CONTENT)


def select(repository: Repository, manifest: Manifest, component: str, selection: Selection) -> Selected:
    """Reads the component's index, twice where something matches; holds only what it returns.

    Raises ArchiveCorrupt, ManifestInvalid, KeyMaterialError where no key at hand opens the index.
    """
    return select_rows(component, lambda: repository.rows(manifest, component), selection)


def select_all(
    repository: Repository, manifest: Manifest, components: Sequence[str], paths: Sequence[str]
) -> tuple[Selected, ...]:
    """What the globs `paths` select of the components of files (`components` empty: of all). () without globs.

    Of a safety backup that may be nothing: then what matches was not there before the restore, and goes. Of others that
    is a slip, and raises BadInput; so does a component without files; else as `select`.
    """
    if not paths:
        return ()
    selection = Selection(paths)
    names = components or [one.name for one in manifest.components if one.index is not None]
    found = tuple(select(repository, manifest, name, selection) for name in names)
    if manifest.run.startswith(SAFETY_PREFIX):
        return found
    if not any(one.rows for one in found):
        raise BadInput(
            f"nothing in {manifest.name} matches {', '.join(map(repr, paths))}; `g3zkp-maint backup ls` shows its paths"
        )
    return tuple(one for one in found if one.rows)


def select_rows(component: str, read: Callable[[], Iterator[Row]], selection: Selection) -> Selected:
    """As `select`, over rows that `read` gives from their beginning each time."""
    found = [row for row in read() if selection.matches(row.path)]
    if not found:
        return Selected(component, (), ())
    around = _Around(found)
    for row in read():
        around.see(row)
    return Selected(component, tuple(around.linked(found)), tuple(around.parents))


@dataclass
class _Around:
    """What selected rows need of the others: the folders above them, and the first paths of hard links."""

    found: list[Row]
    parents: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        paths = {row.path for row in self.found}
        self._above = {parent for path in paths for parent in _parents(path)} - paths
        self._firsts = {row.link for row in self.found if row.kind == rows.HARDLINK} - paths
        self._contents: dict[str, Row] = {}

    def see(self, row: Row) -> None:
        if row.path in self._above and row.kind == rows.FOLDER:
            self.parents.append(row)
        elif row.path in self._firsts:
            self._contents[row.path] = row

    def linked(self, found: list[Row]) -> Iterator[Row]:
        taken: dict[str, str] = {}
        for row in found:
            if row.kind != rows.HARDLINK or row.link not in self._firsts:
                yield row
            elif row.link in taken:
                row.link = taken[row.link]
                yield row
            else:
                taken[row.link] = row.path
                yield self._with_content(row)

    def _with_content(self, row: Row) -> Row:
        first = self._contents.get(row.link)
        if first is None or first.kind not in rows.WITH_CONTENT:
            raise ManifestInvalid(
                f"the index links {row.path!r} to {row.link!r}, which is no file of it; do not restore this backup"
            )
        row.kind, row.link, row.size = first.kind, "", first.size
        row.digest, row.archive, row.offset = first.digest, first.archive, first.offset
        return row


def in_walk_order(listed: Sequence[Row]) -> list[Row]:
    return sorted(listed, key=lambda row: walk_key(row.path))


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _checked(pattern: str) -> bytes:
    steps = pattern.rstrip("/").split("/")
    if "" in steps or "." in steps or ".." in steps or "\0" in pattern:
        raise BadInput(
            f"{pattern!r} matches no path of a backup; they are relative to the messenger's data folder, "
            "such as 'ipfs/blocks/AB/*'"
        )
    return os.fsencode(pattern.rstrip("/"))


def _regex(pattern: bytes) -> bytes:
    return b"".join(_translated(token) for token in _TOKEN.findall(pattern))


def _translated(token: bytes) -> bytes:
    known = {b"**/": rb"(?:[^/]+/)*", b"**": rb".*", b"*": rb"[^/]*", b"?": rb"[^/]"}
    if token in known:
        return known[token]
    if token[:1] == b"[" and len(token) > 2:
        return _one_of(token[1:-1])
    return re.escape(token[1:] if token[:1] == b"\\" and len(token) == 2 else token)


def _one_of(inner: bytes) -> bytes:
    """A class of bytes, as glob writes it; never a slash."""
    negated, inner = inner[:1] == b"!", inner.removeprefix(b"!")
    inside = re.sub(rb"([\[\]\\^&~|])", rb"\\\1", inner)
    try:
        re.compile(b"[%b]" % inside)
    except re.error:
        raise BadInput(f"[{escape(inner)}] is no class of characters; write a backslash before the bracket") from None
    return b"(?!/)[%b%b]" % (b"^" if negated else b"", inside)
