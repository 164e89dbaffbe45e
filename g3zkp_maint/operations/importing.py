"""The import of old artefacts: which sets there are, and each of them made into a backup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from g3zkp_maint.backup.artefacts import ArtefactSet, find_sets
from g3zkp_maint.backup.importing import ImportSite, find_target, import_set
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination import STORE, Mode
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import ArchiveCorrupt, BadInput
from g3zkp_maint.progress import Progress
from g3zkp_maint.stores.base import Store
from g3zkp_maint.stores.directory import DirectoryStore

TASK = "backup.import"
#: A source that begins so is not a folder: the rest is a prefix of keys in the store itself.
IN_STORE = "store:"


@dataclass(frozen=True, slots=True)
class Line:
    """What becomes of one set. `outcome`: `ok` or `partial` where it was imported, `there` where it had been, `refused`
    with `why`; and of a dry run `new`. `backup` is its name here, None where it was refused; `size` in bytes, of the
    artefacts."""

    artefacts: str
    backup: str | None
    outcome: str
    size: int
    missing: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True)
class Source:
    """Where the artefacts are, and those that are there, oldest first."""

    store: Store
    sets: tuple[ArtefactSet, ...]


def open_source(services: Services, source: str) -> Source:
    """`source` is a folder, or `store:` and a prefix. Raises BadInput where there is no folder, or no artefact in it."""
    if source.startswith(IN_STORE):
        store, prefix = services.store, source.removeprefix(IN_STORE)
    else:
        store, prefix = DirectoryStore(Path(source)), ""
        if not Path(source).is_dir():
            raise BadInput(f"{source} is no folder; name one, or {IN_STORE}PREFIX for what is in the store itself")
    sets = tuple(find_sets(store.list(prefix)))
    if not sets:
        raise BadInput(
            f"{source} holds no artefacts of the old scripts, such as g3zkp_full_20250101_020000_ipfs.tar.gz"
        )
    return Source(store, sets)


def preview(services: Services, source: Source) -> list[Line]:
    """What an import would do, as far as names tell; whether the content is whole shows when it is read."""
    taken = _taken(services)
    return [_previewed(services, one, taken) for one in source.sets]


def import_all(
    services: Services, source: Source, slot: str, *, allow_partial: bool, owner: str, progress: Progress
) -> Iterator[Line]:
    """Imports set by set, and tells of each when it is done. One that is damaged does not keep the others.

    Raises LeaseBusy, LeaseLost, StoreError, KeyMaterialError; what was imported by then stays, and a repetition goes on.
    """
    with services.leases.acquire({STORE: Mode.SHARED}, owner=f"{TASK}:{slot}", queue=False) as lease:
        site = _site(services, source, lease, progress)
        taken = _taken(services)
        for one in source.sets:
            target = find_target(services.repository, one, taken)
            if target.is_there:
                yield _line(one, target.name, "there")
                continue
            try:
                with services.journal.step(f"{TASK}:{slot}", TASK, slot, str(one.name), owner=owner) as step:
                    made = import_set(site, one, target.name, taken, allow_partial=allow_partial)
                    step.outcome, step.bytes = str(made.outcome), one.size
                    step.note(backup=made.name)
            except ArchiveCorrupt as error:
                yield _line(one, None, "refused", why=str(error))
            else:
                taken.add(made.name)
                yield _line(one, made.name, str(made.outcome), why="; ".join(made.notes[1:]))


def _site(services: Services, source: Source, guard: Guard, progress: Progress) -> ImportSite:
    settings = services.settings
    return ImportSite(
        repository=services.repository,
        source=source.store,
        settings=settings.backup,
        drill=settings.drill,
        clock=services.clock,
        guard=guard,
        progress=progress,
    )


def _previewed(services: Services, one: ArtefactSet, taken: set[str]) -> Line:
    target = find_target(services.repository, one, taken)
    return _line(one, target.name, "there" if target.is_there else "new")


def _taken(services: Services) -> set[str]:
    return set(map(str, services.repository.names()))


def _line(one: ArtefactSet, backup: str | None, outcome: str, *, why: str = "") -> Line:
    return Line(str(one.name), backup, outcome, one.size, tuple(map(str, one.missing)), why)
