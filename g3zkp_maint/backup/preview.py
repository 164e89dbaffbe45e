"""What a backup would do: the same choice of a parent and the same comparison as the real one, and nothing stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from g3zkp_maint import settings as settings_module
from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.plan import Kept, compare
from g3zkp_maint.backup.prepare import choose_parent
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row
from g3zkp_maint.backup.source import Source
from g3zkp_maint.progress import NoProgress, Progress


@dataclass(frozen=True, slots=True)
class PreviewedComponent:
    """Paths and bytes that are there, and those of them that would be read and stored. The latter are an upper bound:
    what was touched and has its old content is read, and not stored again. None for a dump: unknown before it is made."""

    name: str
    kind: str
    entries: int | None = None
    bytes: int | None = None
    new_entries: int | None = None
    new_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """`type` is what it would become: an incremental without a valid parent is a full. `notes` say what was passed over."""

    type: BackupType
    parent: str | None
    notes: tuple[str, ...]
    components: tuple[PreviewedComponent, ...]


def preview(
    repository: Repository,
    components: Sequence[settings_module.Component],
    type: BackupType,
    *,
    source: Source,
    progress: Progress | None = None,
) -> Preview:
    """Reads the trees' metadata and the parent's lists. Raises SourceError, StoreError, KeyMaterialError."""
    parent = choose_parent(repository, type)
    previewed = tuple(
        _component(repository, source, component, parent.manifest, progress or NoProgress()) for component in components
    )
    made = type if parent.manifest is not None else BackupType.FULL
    return Preview(made, parent.manifest.name if parent.manifest else None, parent.notes, previewed)


def _component(
    repository: Repository,
    source: Source,
    component: settings_module.Component,
    parent: Manifest | None,
    progress: Progress,
) -> PreviewedComponent:
    if component.kind != "files" or component.path is None:
        return PreviewedComponent(component.name, component.kind)
    progress.step(component.name)
    before: Iterator[tuple[Row, bytes]] = repository.rows_raw(parent, component.name) if parent else iter(())
    entries = size = new_entries = new_bytes = 0
    for decision in compare(source.scan(component.path), before, is_immutable=_matcher(component)):
        content = decision.row.size if decision.row.kind in rows.WITH_CONTENT else 0
        entries += 1
        size += content
        if not isinstance(decision, Kept):
            new_entries += 1
            new_bytes += content
        progress.advance(content, 1)
    return PreviewedComponent(component.name, component.kind, entries, size, new_entries, new_bytes)


def _matcher(component: settings_module.Component) -> Callable[[str], bool]:
    return lambda path: any(fnmatchcase(path, pattern) for pattern in component.immutable)
