"""The target that is a pod: a helper with the messenger's volume, written to by exec.

Each step is one exec of the agent's `write` program: orders go in, some are answered, and at the end it says how many it
has carried out; a step counts when that number and the stream's trailer are as they must be. So a broken stream is
never a success, and a step that was cut short is done again from its beginning: what is right already stays.

What is right is decided in the pod, by BLAKE3 of what is there (agent/blake3.js, 0.4 GB/s): sizes and times may agree
where contents do not, and to read a volume out through the API server takes four times as long as to hash it.

Node sets times in microseconds: a restored time differs from the snapshot's by less than one. The next incremental looks
at such a file again, finds its content known, and stores nothing.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.agent.call import Agent, Answer, counted
from g3zkp_maint.backup.exec_source import ExecSource
from g3zkp_maint.backup.extract import Extractor
from g3zkp_maint.backup.layout import folders_above, folders_deepest_first, in_the_way, others_than
from g3zkp_maint.backup.manifest import Archive
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row, unescape
from g3zkp_maint.backup.sealing import unsealed
from g3zkp_maint.backup.selection import Selection
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import StreamBroken
from g3zkp_maint.progress import Progress

_META = struct.Struct("<IIIq")
_SIZE = struct.Struct("<q")
_NUMBER = struct.Struct("<I")
_END = _NUMBER.pack(0xFFFFFFFF)
_PIECE = 1 << 20
_HOLE = 64 << 10
_ZEROS = bytes(_HOLE)
_VERIFY_EVERY = 1000
_BARE = frozenset({rows.SYMLINK, rows.HARDLINK, rows.FIFO})
_BATCH_BYTES = 1 << 20


@dataclass(frozen=True)
class ExecTarget:
    """See Target."""

    agent: Agent

    @property
    def name(self) -> str:
        """See Target.name."""
        return f"{self.agent.root} in {self.agent.workload}"

    def has(self, path: str) -> bool:
        """See Target.has."""
        return self._kind(path) != b"N"

    def has_folder(self, path: str) -> bool:
        """Whether a folder is at `path`."""
        return self._kind(path) == b"F"

    def _kind(self, path: str) -> bytes:
        with _orders(self.agent, [b"Q" + os.fsencode(path)]) as answers:
            letter = answers.letter()
            answers.end()
            return letter

    @contextmanager
    def layout(self, guard: Guard) -> Iterator[_Layout]:
        """See Target.layout."""
        yield _Layout(self.agent, guard)

    def extract(
        self, repository: Repository, archive: Archive, wanted: Sequence[Row], *, guard: Guard, progress: Progress
    ) -> int:
        """See Target.extract."""
        with _orders(self.agent, _contents(repository, archive, wanted, guard, progress)) as answers:
            return answers.end()

    def settle(self) -> None:
        """See Target.settle."""
        with _orders(self.agent, [b"Y"]) as answers:
            answers.end()


class _Answers:
    """What comes back for the orders of one call."""

    def __init__(self, answer: Answer, orders: _Framed) -> None:
        self.answer = answer
        self._orders = orders

    def letter(self) -> bytes:
        """The answer to the next order that has one."""
        tag = self.answer.tag()
        if not tag or tag == b"O":
            raise self.answer.unexpected(tag)
        return tag

    def end(self) -> int:
        """How many owners could not be set. Raises StreamBroken unless every order was carried out."""
        tag = self.answer.tag()
        if tag != b"O":
            raise self.answer.unexpected(tag)
        count, owners = self.answer.u32(), self.answer.u32()
        if self.answer.tag() or count != self._orders.sent:
            raise StreamBroken(f"{count} of {self._orders.sent} orders of a restore were carried out; run it again")
        return owners


class _Framed:
    """Orders as they are sent, in batches, and counted. A thread of the platform pulls them, and is through with them
    before the last answer comes."""

    def __init__(self, orders: Iterable[bytes]) -> None:
        self._orders = orders
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        batch, held = [], 0
        for order in self._orders:
            batch.append(counted(order))
            held += len(order)
            self.sent += 1
            if held >= _BATCH_BYTES:
                yield b"".join(batch)
                batch, held = [], 0
        yield b"".join(batch) + _END


@contextmanager
def _orders(agent: Agent, orders: Iterable[bytes]) -> Iterator[_Answers]:
    """Sends the orders, and gives their answers; whatever `orders` raises is raised by them."""
    framed = _Framed(orders)
    with agent.call("write", framed) as answer:
        yield _Answers(answer, framed)


class _Layout:
    """See Layout."""

    def __init__(self, agent: Agent, guard: Guard) -> None:
        self._agent = agent
        self._guard = guard
        self._new_folders: set[str] = set()
        self._modes_to_restore: dict[str, int] = {}
        self.owners_not_set = 0

    def make_parents(self, top: str, parents: Iterable[Row]) -> None:
        """See Layout.make_parents."""
        paths = [*folders_above(top), *(row.path for row in parents)]
        if not paths:
            return
        with _orders(self._agent, self._held(b"P" + unescape(path) for path in paths)) as answers:
            for path in paths:
                letter = answers.letter()
                if letter == b"W":
                    raise in_the_way(path)
                if letter == b"M":
                    self._modes_to_restore[path] = answers.answer.u32()
                elif letter == b"N":
                    self._new_folders.add(path)
            answers.end()

    def make_folders(self, listed: Iterable[Row]) -> None:
        """See Layout.make_folders."""
        paths = [row.path for row in listed if row.kind == rows.FOLDER]
        with _orders(self._agent, self._held(b"F" + unescape(path) for path in paths)) as answers:
            self._new_folders.update(path for path in paths if answers.letter() == b"N")
            answers.end()

    def missing_content(self, listed: Iterable[Row]) -> tuple[dict[int, list[Row]], int]:
        """See Layout.missing_content."""
        by_archive: dict[int, list[Row]] = defaultdict(list)
        in_doubt = []
        for row in listed:
            if row.kind not in rows.WITH_CONTENT:
                continue
            if row.path.rpartition("/")[0] in self._new_folders:
                by_archive[row.archive].append(row)
            else:
                in_doubt.append(row)
        kept = len(in_doubt)
        for row in self._wrong(in_doubt) if in_doubt else ():
            by_archive[row.archive].append(row)
            kept -= 1
        for wanted in by_archive.values():
            wanted.sort(key=lambda row: row.offset)
        return by_archive, kept

    def _wrong(self, in_doubt: Sequence[Row]) -> Iterator[Row]:
        questions = (
            b"R" + _meta(row) + _SIZE.pack(row.size) + bytes.fromhex(row.digest) + unescape(row.path)
            for row in in_doubt
        )
        with _orders(self._agent, self._held(questions)) as answers:
            yield from (row for row in in_doubt if answers.letter() == b"C")
            self.owners_not_set += answers.end()

    def make_bare(self, listed: Iterable[Row]) -> None:
        """See Layout.make_bare."""
        self._carry_out([_bare(row) for row in listed if row.kind in _BARE])

    def remove_others(self, top: str, listed: Iterable[Row], selection: Selection | None) -> int:
        """See Layout.remove_others."""
        others = others_than(ExecSource(self._agent).scan(top), listed, selection)
        self._carry_out([_removal(row) for row in reversed(others)])
        return len(others)

    def set_folders(self, listed: Sequence[Row], parents: Sequence[Row]) -> None:
        """See Layout.set_folders."""
        folders = folders_deepest_first(listed, parents, self._new_folders)
        orders = [b"S" + _meta(row) + unescape(row.path) for row in folders]
        orders += [
            b"M" + _NUMBER.pack(mode) + unescape(path)
            for path, mode in sorted(self._modes_to_restore.items(), reverse=True)
        ]
        self._carry_out(orders)

    def _carry_out(self, orders: Sequence[bytes]) -> None:
        if orders:
            with _orders(self._agent, self._held(orders)) as answers:
                self.owners_not_set += answers.end()

    def _held(self, orders: Iterable[bytes]) -> Iterator[bytes]:
        for count, order in enumerate(orders):
            if count % _VERIFY_EVERY == 0:
                self._guard.verify()
            self._guard.ensure_held()
            yield order


class _NewFile:
    """See NewFile. Becomes orders."""

    def __init__(self, row: Row, orders: list[bytes], guard: Guard) -> None:
        guard.ensure_held()
        self._orders = orders
        self._is_sparse = row.kind == rows.SPARSE
        orders.append(b"C" + _meta(row) + _SIZE.pack(row.size) + unescape(row.path))

    def write(self, data: memoryview) -> None:
        step = _HOLE if self._is_sparse else _PIECE
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            is_hole = self._is_sparse and piece == _ZEROS[: len(piece)]
            self._orders.append(b"z" + _NUMBER.pack(len(piece)) if is_hole else b"d" + piece)

    def end(self) -> None:
        self._orders.append(b"c")

    def close(self) -> None:
        """What was not ended stays as it is, and is seen by its digest the next time."""


def _contents(
    repository: Repository, archive: Archive, wanted: Sequence[Row], guard: Guard, progress: Progress
) -> Iterator[bytes]:
    made: list[bytes] = []
    extractor = Extractor(archive, wanted, lambda row: _NewFile(row, made, guard), progress)
    for piece in unsealed(
        repository.store.get(repository.full_key(archive.key)),
        identities=repository.keyring.archive_identities(),
        what=archive.key,
        plain_size=archive.plain_size,
    ):
        extractor.feed(piece)
        yield from made
        made.clear()
    extractor.finish()
    yield from made


def _meta(row: Row) -> bytes:
    return _META.pack(row.mode, row.uid, row.gid, row.mtime_ns)


def _bare(row: Row) -> bytes:
    if row.kind == rows.SYMLINK:
        return b"L" + _meta(row) + counted(unescape(row.path)) + unescape(row.link)
    if row.kind == rows.HARDLINK:
        return b"H" + counted(unescape(row.path)) + unescape(row.link)
    return b"I" + _meta(row) + unescape(row.path)


def _removal(row: Row) -> bytes:
    return b"X" + bytes([row.kind == rows.FOLDER]) + unescape(row.path)
