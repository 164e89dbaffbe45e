"""Backups whose lease is lost on the way: whoever has it now goes on, and what was overtaken leaves nothing more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from g3zkp_maint.backup.run import back_up
from g3zkp_maint.errors import LeaseLost
from g3zkp_maint.settings import Component
from g3zkp_maint.stores.base import Chunk, Stored
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.testing.backup_site import BackupSite


class Losable:
    """A guard."""

    token = 1
    is_lost = False

    def ensure_held(self) -> None:
        if self.is_lost:
            raise LeaseLost("another has it")

    verify = ensure_held


class Overtaken(DirectoryStore):
    """The lease is lost as the `number`-th object is there: a process that is stopped in that moment, and continues."""

    def __init__(self, root: Path, number: int, guard: Losable) -> None:
        super().__init__(root)
        self.seen: list[str] = []
        self._left, self._guard = number, guard

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        stored = super().put(key, chunks, if_absent=if_absent)
        self._left -= 1
        if self._left == 0:
            self.seen = self.keys()
            self._guard.is_lost = True
        return stored

    def keys(self) -> list[str]:
        return [info.key for info in self.list("")]


@dataclass
class Objects:
    """Of a platform: its objects."""

    def objects(self) -> list[dict[str, Any]]:
        return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}]


def test_a_backup_whose_lease_is_lost_puts_no_further_object_whatever_it_was_at(tmp_path: Path) -> None:
    parts = (Component(name="ipfs", kind="files", path="ipfs"), Component(name="objects", kind="kubernetes"))
    site = BackupSite(tmp_path, components=parts, shard_bytes=1 << 12)
    for name in ("a", "b"):
        (site.tree / name).write_bytes(name.encode() * 5000)
    for number in range(1, 100):
        guard = Losable()
        store = site.store = Overtaken(tmp_path / f"store-{number}", number, guard)
        workshop = replace(site.workshop(guard), platform=Objects())  # type: ignore[arg-type]
        try:
            back_up(workshop, site.request(run="run-1"))
        except LeaseLost:
            assert store.keys() == store.seen
        else:
            break
    # Last of all the manifest: with it the backup is there, and whoever made it may sweep what only its making needed.
    assert [key for key in store.seen if key.endswith("/MANIFEST.json")]
    assert number == len(store.seen) > 10
