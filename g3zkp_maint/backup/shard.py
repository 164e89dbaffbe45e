"""The second step, once a shard: read the listed files, store one archive, and say what became of each file.

A shard is done when its marker `work/…/<archive>.done.json` is there, put only if absent after archive and rows. An
attempt never overwrites what another one wrote: where a key is taken it uses the next (`ipfs.000-r1…`), so a worker
that was thought dead can spoil nothing; what no marker names is swept later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from g3zkp_maint.backup.archiver import Archiver
from g3zkp_maint.backup.manifest import Archive, Counts, believed, signed_document
from g3zkp_maint.backup.plan import BackupPlan, Shard, StoredList
from g3zkp_maint.backup.repository import Repository, read_small
from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.row import Row, read_rows
from g3zkp_maint.backup.sealing import Sealed
from g3zkp_maint.errors import BackupError, ManifestInvalid, ObjectExists, ObjectMissing

_ATTEMPTS = 100


class ShardDone(BaseModel):
    """The marker. `rows` holds the shard's rows, in the order of its list; `refers_to` the archives they are in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    archive: Archive
    rows: StoredList | None = None
    refers_to: tuple[int, ...] = ()
    counts: Counts = Counts()
    facts: dict[str, int | str] = {}


def marker_key(plan: BackupPlan, shard: Shard) -> str:
    return f"{plan.work}/{shard.archive}.done.json"


def find_done(repository: Repository, plan: BackupPlan, shard: Shard) -> ShardDone | None:
    """What an earlier attempt stored for this shard, or None."""
    key = repository.full_key(marker_key(plan, shard))
    try:
        document, _ = believed(read_small(repository.store, key), repository.keyring, key)
        done = ShardDone.model_validate(document)
    except ObjectMissing:
        return None
    except (ManifestInvalid, ValidationError) as error:
        raise BackupError(
            f"{key} is damaged, not ours, or another version's ({type(error).__name__}); delete it and run the backup again"
        ) from None
    if (done.archive.backup, done.archive.id) != (plan.name, shard.id):
        raise BackupError(f"{key} is the marker of another archive; it was swapped in the store: delete it")
    return done


def put_done(workshop: Workshop, plan: BackupPlan, shard: Shard, done: ShardDone) -> ShardDone:
    """Marks the shard as done. Where another attempt was first, returns what that one stored, which counts. Raises
    LeaseLost where another has taken over: the backup may be sealed by now, and its markers swept."""
    repository = workshop.repository
    workshop.guard.ensure_held()
    try:
        raw = signed_document(done.model_dump(mode="json"), repository.keyring)
        repository.store.put(repository.full_key(marker_key(plan, shard)), [raw], if_absent=True)
    except ObjectExists:
        first = find_done(repository, plan, shard)
        if first is None:
            raise BackupError(f"the marker of {shard.archive} came and went; run the backup again") from None
        return first
    return done


def store_archive(
    repository: Repository, plan: BackupPlan, shard: Shard, suffix: str, produce: Callable[[], Iterator[bytes]]
) -> tuple[str, Sealed]:
    """Stores what `produce` makes under the first free key of this shard. Returns the key and what was stored.

    `produce` is called anew where the key is taken by another attempt in the meantime.
    """
    for attempt in range(_ATTEMPTS):
        key = f"{plan.folder}/{shard.archive}{f'-r{attempt}' if attempt else ''}{suffix}"
        if _is_taken(repository, key):
            continue
        try:
            return key, repository.put_archive(key, produce())
        except ObjectExists:
            continue
    raise BackupError(
        f"{_ATTEMPTS} attempts have left an archive {shard.archive} of {plan.name}; see why they died, then prune"
    )


def _is_taken(repository: Repository, key: str) -> bool:
    try:
        repository.store.head(repository.full_key(key))
    except ObjectMissing:
        return False
    return True


def archive_files(workshop: Workshop, plan: BackupPlan, shard: Shard) -> ShardDone:
    """Stores the archive of a `files` shard, unless it is stored already. Raises StoreError, SourceError, LeaseLost."""
    repository = workshop.repository
    done = find_done(repository, plan, shard)
    if done is not None:
        return done
    workshop.progress.step(shard.archive)
    made: list[Archiver] = []

    def produce() -> Iterator[bytes]:
        made.append(Archiver(workshop, shard.id, _worklist(repository, shard)))
        return made[-1].chunks()

    key, sealed = store_archive(repository, plan, shard, ".tar.zst.age", produce)
    archiver = made[-1]
    rows_key = f"{plan.work}/{key.rpartition('/')[2].removesuffix('.tar.zst.age')}.rows.zst.age"
    workshop.guard.ensure_held()
    stored = repository.put_list(rows_key, [archiver.lines()])
    archive = Archive(
        id=shard.id,
        backup=plan.name,
        component=shard.component,
        key=key,
        size=sealed.size,
        sha256=sealed.digest,
        plain_size=sealed.plain_size,
        entries=archiver.members,
    )
    done = ShardDone(
        archive=archive,
        rows=StoredList(key=rows_key, sha256=stored.digest),
        refers_to=archiver.refers_to(),
        counts=archiver.counts(),
    )
    return put_done(workshop, plan, shard, done)


def _worklist(repository: Repository, shard: Shard) -> Iterator[Row]:
    if shard.worklist is None:
        raise BackupError(f"shard {shard.archive} has no list of files; its plan is damaged: start another backup")
    return read_rows(repository.read_list(shard.worklist.key, sha256=shard.worklist.sha256))
