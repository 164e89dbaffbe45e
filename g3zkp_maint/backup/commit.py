"""The last step: the indexes, then the manifest, with which the backup begins to exist.

Everything the manifest names is looked at first. The lease is checked just before the manifest is put; and as it is put
only if absent, even a worker that lost its lease in that very moment can make no second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from g3zkp_maint.backup.archiver import PARTIAL_NOTES
from g3zkp_maint.backup.manifest import Component, Counts, Index, Manifest, Outcome
from g3zkp_maint.backup.plan import BackupPlan, PlannedComponent
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.row import lines
from g3zkp_maint.backup.sealing import Sealed
from g3zkp_maint.backup.shard import ShardDone, find_done
from g3zkp_maint.errors import BackupError, ObjectExists, UnknownBackup

_ATTEMPTS = 100


def commit(workshop: Workshop, plan: BackupPlan) -> Manifest:
    """The manifest of a backup all of whose shards are stored; makes it unless it is there already.

    Raises BackupError while a shard is missing, ArchiveCorrupt where an object is not what it should be, LeaseLost.
    """
    repository = workshop.repository
    try:
        return repository.manifest(plan.name)
    except UnknownBackup:
        pass
    workshop.progress.step("seal")
    done = _all_done(repository, plan)
    components = tuple(_component(workshop, plan, planned, done) for planned in plan.components)
    manifest = _manifest(workshop, plan, components, done)
    for archive in manifest.archives:
        repository.head(archive)
    workshop.guard.verify()
    workshop.guard.ensure_held()
    manifest = repository.commit(manifest)
    sweep_work(repository, plan)
    return manifest


def sweep_work(repository: Repository, plan: BackupPlan) -> None:
    """Removes what only the making of this backup needed."""
    folder = repository.full_key(f"{plan.folder}/work/")
    repository.store.delete([info.key for info in repository.store.list(folder)])


def _all_done(repository: Repository, plan: BackupPlan) -> dict[str, ShardDone]:
    done = {}
    for shard in plan.shards:
        found = find_done(repository, plan, shard)
        if found is None:
            raise BackupError(
                f"archive {shard.archive} of {plan.name} is not stored yet; run the backup again to go on"
            )
        done[shard.archive] = found
    return done


def _component(
    workshop: Workshop, plan: BackupPlan, planned: PlannedComponent, done: dict[str, ShardDone]
) -> Component:
    mine = [done[shard.archive] for shard in plan.shards if shard.component == planned.name]
    facts = {name: value for one in mine for name, value in one.facts.items()}
    return Component(
        name=planned.name,
        kind=planned.kind,
        path=planned.path,
        index=_index(workshop.repository, plan, planned, mine),
        counts=_total([planned.kept, *(one.counts for one in mine)]),
        facts=facts,
    )


def _total(counts: Iterable[Counts]) -> Counts:
    entries = size = new = 0
    notes: dict[str, int] = {}
    for one in counts:
        entries, size, new = entries + one.entries, size + one.bytes, new + one.new_bytes
        for note, times in one.notes.items():
            notes[note] = notes.get(note, 0) + times
    return Counts(entries=entries, bytes=size, new_bytes=new, notes=notes)


def _index(repository: Repository, plan: BackupPlan, planned: PlannedComponent, mine: list[ShardDone]) -> Index | None:
    if planned.order_key is None:
        return None
    splice = _Splice(repository, planned.order_key, mine)
    for attempt in range(_ATTEMPTS):
        key = f"{plan.folder}/{planned.name}{f'-r{attempt}' if attempt else ''}.index.zst.age"
        try:
            sealed: Sealed = repository.put_list(key, splice.chunks())
        except ObjectExists:
            continue
        return Index(key=key, size=sealed.size, sha256=sealed.digest, plain_size=sealed.plain_size, rows=splice.rows)
    raise BackupError(f"{_ATTEMPTS} attempts have left an index of {plan.name}; see why they died, then prune")


class _Splice:
    """The order list with its holes filled by the shards' rows: the new index."""

    def __init__(self, repository: Repository, order_key: str, mine: list[ShardDone]) -> None:
        self._repository = repository
        self._order_key = order_key
        self._mine = mine
        self.rows = 0

    def chunks(self) -> Iterator[bytes]:
        self.rows = 0
        delivered = self._delivered()
        for block in lines(self._repository.read_list(self._order_key)):
            yield self._filled(block, delivered)
        left = next(delivered, None)
        if left is not None:
            raise BackupError("the shards delivered more rows than the plan has places for; start another backup")

    def _filled(self, block: bytes, delivered: Iterator[bytes]) -> bytes:
        out = []
        for line in block.split(b"\n"):
            if line.startswith(b"["):
                out.append(line)
            elif line:
                out.extend(self._take(delivered, int(line)))
        self.rows += len(out)
        return b"".join([line + b"\n" for line in out])

    def _take(self, delivered: Iterator[bytes], count: int) -> Iterator[bytes]:
        for _ in range(count):
            line = next(delivered, None)
            if line is None:
                raise BackupError("the shards delivered fewer rows than the plan has places for; start another backup")
            yield line

    def _delivered(self) -> Iterator[bytes]:
        for one in self._mine:
            if one.rows_key is not None:
                for block in lines(self._repository.read_list(one.rows_key)):
                    yield from filter(None, block.split(b"\n"))


def _manifest(
    workshop: Workshop, plan: BackupPlan, components: tuple[Component, ...], done: dict[str, ShardDone]
) -> Manifest:
    needed = {archive for planned in plan.components for archive in planned.kept_archives}
    needed |= {archive for one in done.values() for archive in one.refers_to}
    carried = [archive for archive in plan.carried if archive.id in needed]
    own = [one.archive for one in done.values()]
    notes = {note for component in components for note in component.counts.notes}
    return Manifest(
        product=plan.product,
        name=plan.name,
        type=plan.type,
        outcome=Outcome.PARTIAL if notes & PARTIAL_NOTES else Outcome.OK,
        run=plan.run,
        parent=plan.parent,
        previous=plan.previous,
        planned_at=plan.planned_at,
        sealed_at=workshop.clock.now(),
        components=components,
        archives=(*carried, *own),
        recipients=tuple(str(recipient) for recipient in workshop.repository.keyring.recipients),
        notes=plan.notes,
    )
