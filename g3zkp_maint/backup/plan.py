"""What a backup is going to do: pure. The comparison of a tree with the parent's index, and the cut into shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import AwareDatetime, BaseModel, ConfigDict

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.manifest import Archive, Counts, Previous
from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.backup.row import Row, walk_key


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredList(_Model):
    """A sealed list of a backup under way: its key, and the SHA-256 of its stored bytes, so that no other can stand in."""

    key: str
    sha256: str


class Shard(_Model):
    """One archive to be made, by one task. `archive` is its name, as in `ipfs.000`; `worklist` holds its rows."""

    archive: str
    id: int
    component: str
    kind: str
    entries: int = 0
    worklist: StoredList | None = None


class PlannedComponent(_Model):
    """`kept` counts what stays where earlier backups stored it, in the archives `kept_archives`."""

    name: str
    kind: str
    path: str | None = None
    order: StoredList | None = None
    kept: Counts = Counts()
    kept_archives: tuple[int, ...] = ()


class BackupPlan(_Model):
    """All that the steps of one backup must agree on; stored once as `work/plan.json`. Holds no path of any file."""

    product: str
    name: str
    run: str
    asked: BackupType
    parent: str | None
    previous: Previous | None
    planned_at: AwareDatetime
    work: str
    components: tuple[PlannedComponent, ...]
    shards: tuple[Shard, ...]
    carried: tuple[Archive, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def type(self) -> BackupType:
        return BackupName.parse(self.name).type

    @property
    def folder(self) -> str:
        return BackupName.parse(self.name).folder

    def shard(self, archive: str) -> Shard:
        """Raises KeyError."""
        return {shard.archive: shard for shard in self.shards}[archive]


def is_unchanged(now: Row, then: Row) -> bool:
    """Whether what the parent has is what is there, by all that a scan knows."""
    return (
        now.size == then.size
        and now.mtime_ns == then.mtime_ns
        and now.ctime_ns == then.ctime_ns
        and now.inode == then.inode
        and now.kind == then.kind
        and now.mode == then.mode
        and now.uid == then.uid
        and now.gid == then.gid
        and now.link == then.link
    )


def is_same_block(now: Row, then: Row) -> bool:
    """Whether two rows of a content-addressed file agree: the name says the content, so the size is all that is left."""
    return now.kind == then.kind == rows.FILE and now.size == then.size and then.digest != ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row that goes into the new index as it is, in the parent's line or a new one."""

    row: Row
    line: bytes


@dataclass(frozen=True, slots=True)
class Todo:
    """A row to be archived. Its `digest`, `archive` and `offset` are the parent's where that has a file of this size there."""

    row: Row


Decision = Kept | Todo


def compare(
    current: Iterable[Row], before: Iterator[tuple[Row, bytes]], *, is_immutable: Callable[[str], bool]
) -> Iterator[Decision]:
    """What to do with each path of `current`, in its order. Both are in walk order; memory does not grow with them."""
    then, line = next(before, (None, b""))
    then_key = walk_key(then.path) if then else b""
    for now in current:
        if then is None:
            yield Todo(now)
            continue
        now_key = walk_key(now.path)
        while then is not None and then_key < now_key:
            then, line = next(before, (None, b""))
            then_key = walk_key(then.path) if then else b""
        if then is None or then_key != now_key:
            yield Todo(now)
        else:
            yield _decide(now, then, line, is_immutable)


def _decide(now: Row, then: Row, line: bytes, is_immutable: Callable[[str], bool]) -> Decision:
    if is_unchanged(now, then) and now.kind != rows.LEFT_OUT:  # what is left out is counted by each backup anew
        return Kept(then, line)
    if now.kind not in rows.WITH_CONTENT or then.kind not in rows.WITH_CONTENT:
        return Todo(now)
    if now.size == then.size:
        now.digest, now.archive, now.offset = then.digest, then.archive, then.offset
    if is_same_block(now, then) and is_immutable(now.path):
        return Kept(now, rows.encode(now))
    return Todo(now)


@dataclass
class ShardCutter:
    """Cuts a stream of rows into shards of about `weight` bytes, where a file weighs `per_file` more than its size."""

    weight: int
    per_file: int
    _rows: list[bytes] = field(default_factory=list)
    _held: int = 0

    def add(self, row: Row) -> list[bytes] | None:
        """The lines of a shard that this row fills, or None."""
        self._rows.append(rows.encode(row))
        self._held += row.size + self.per_file
        return self.close() if self._held >= self.weight else None

    def close(self) -> list[bytes] | None:
        """The lines that are left, or None where there are none."""
        lines, self._rows, self._held = self._rows, [], 0
        return lines or None


@dataclass
class Tally:
    """Counts what is kept, as it passes."""

    entries: int = 0
    bytes: int = 0
    archives: set[int] = field(default_factory=set)

    def add(self, row: Row) -> None:
        self.entries += 1
        if row.kind in rows.WITH_CONTENT:
            self.bytes += row.size
            if row.archive != rows.NO_ARCHIVE:
                self.archives.add(row.archive)

    def counts(self) -> Counts:
        return Counts(entries=self.entries, bytes=self.bytes)
