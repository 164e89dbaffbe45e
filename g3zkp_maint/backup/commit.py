"""The last step: the indexes, then the manifest, with which the backup begins to exist.

Everything the manifest names is looked at first. The lease is checked just before the manifest is put; and as it is put
only if absent, even a worker that lost its lease in that very moment can make no second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.archiver import PARTIAL_NOTES
from g3zkp_maint.backup.manifest import Component, Counts, Index, Manifest, Outcome
from g3zkp_maint.backup.plan import BackupPlan, PlannedComponent, StoredList
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.row import LineBuffer, Row, encode, lines, read_rows_raw
from g3zkp_maint.backup.sealing import Sealed
from g3zkp_maint.backup.shard import ShardDone, find_done
from g3zkp_maint.backup.source import UNREADABLE
from g3zkp_maint.errors import BackupError, ObjectExists, UnknownBackup

_ATTEMPTS = 100


def commit(workshop: Workshop, plan: BackupPlan) -> Manifest:
    """The manifest of a backup all of whose shards are stored; makes it unless it is there already.

    Raises BackupError while a shard is missing, ArchiveCorrupt where an object is not what it should be, LeaseLost.
    """
    repository = workshop.repository
    try:
        manifest = repository.manifest(plan.name)
    except UnknownBackup:
        pass
    else:
        sweep_work(repository, plan)
        return manifest
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
    index, corrected = _index(workshop, plan, planned, mine)
    return Component(
        name=planned.name,
        kind=planned.kind,
        path=planned.path,
        index=index,
        counts=_total([planned.kept, *(one.counts for one in mine), corrected]),
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


def _index(
    workshop: Workshop, plan: BackupPlan, planned: PlannedComponent, mine: list[ShardDone]
) -> tuple[Index | None, Counts]:
    if planned.order is None:
        return None, Counts()
    repository = workshop.repository
    splice = _Splice(repository, planned.order, mine)
    for attempt in range(_ATTEMPTS):
        key = f"{plan.folder}/{planned.name}{f'-r{attempt}' if attempt else ''}.index.zst.age"
        workshop.guard.ensure_held()
        try:
            sealed: Sealed = repository.put_list(key, splice.chunks())
        except ObjectExists:
            continue
        index = Index(key=key, size=sealed.size, sha256=sealed.digest, plain_size=sealed.plain_size, rows=splice.rows)
        return index, splice.orphans.counts()
    raise BackupError(f"{_ATTEMPTS} attempts have left an index of {plan.name}; see why they died, then prune")


class _Splice:
    """The order list with its holes filled by the shards' rows: the new index."""

    def __init__(self, repository: Repository, order: StoredList, mine: list[ShardDone]) -> None:
        self._repository = repository
        self._order = order
        self._mine = mine
        self.rows = 0
        self.orphans = _Orphans()

    def chunks(self) -> Iterator[bytes]:
        """Some thousand lines at a time: a hole may stand for a million rows."""
        self.rows, self.orphans = 0, _Orphans()
        delivered, buffer = self._delivered(), LineBuffer()
        for line in self._filled(delivered):
            self.rows += 1
            if chunk := buffer.add(line):
                yield self.orphans.marked(chunk)
        yield self.orphans.marked(buffer.flush())
        if next(delivered, None) is not None:
            raise BackupError("the shards delivered more rows than the plan has places for; start another backup")

    def _filled(self, delivered: Iterator[bytes]) -> Iterator[bytes]:
        for block in lines(self._repository.read_list(self._order.key, sha256=self._order.sha256)):
            for line in filter(None, block.split(b"\n")):
                if line.startswith(b"["):
                    yield line
                else:
                    yield from self._take(delivered, int(line))

    def _take(self, delivered: Iterator[bytes], count: int) -> Iterator[bytes]:
        for _ in range(count):
            line = next(delivered, None)
            if line is None:
                raise BackupError("the shards delivered fewer rows than the plan has places for; start another backup")
            yield line

    def _delivered(self) -> Iterator[bytes]:
        for one in self._mine:
            if one.rows is not None:
                for block in lines(self._repository.read_list(one.rows.key, sha256=one.rows.sha256)):
                    yield from filter(None, block.split(b"\n"))


class _Orphans:
    """Hard links whose first path vanished after they had been looked at: left out, and the backup is partial for it,
    as no restore could make them. A first path comes before its links, so one pass sees all."""

    def __init__(self) -> None:
        self._left_out: set[str] = set()
        self._count = 0

    def marked(self, block: bytes) -> bytes:
        # In JSON a quote within a path is escaped, so these letters are a row's kind and nothing else.
        if b',"x",' not in block and not (self._left_out and b',"h",' in block):
            return block
        return b"".join([self._line(row, line) + b"\n" for row, line in read_rows_raw([block])])

    def _line(self, row: Row, line: bytes) -> bytes:
        if row.kind == rows.HARDLINK and row.link in self._left_out:
            self._count += 1
            row.kind, row.link = rows.LEFT_OUT, f"{UNREADABLE}: a link to {row.link}, which vanished"
            line = encode(row)
        if row.kind == rows.LEFT_OUT:
            self._left_out.add(row.path)
        return line

    def counts(self) -> Counts:
        return Counts(entries=-self._count, notes={UNREADABLE: self._count} if self._count else {})


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
