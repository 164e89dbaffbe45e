"""One part of an old backup, read whole and stored as a component of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from blake3 import blake3

from g3zkp_maint import settings as settings_module
from g3zkp_maint.backup.manifest import Archive, Component, Counts, Index
from g3zkp_maint.backup.name import BackupName
from g3zkp_maint.backup.object_plan import in_order
from g3zkp_maint.backup.objects import as_yaml, kept
from g3zkp_maint.backup.old_tar import OldTar
from g3zkp_maint.backup.redis_dump import checked
from g3zkp_maint.backup.repack import Repacker
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.scratch import scratch_folder
from g3zkp_maint.backup.sealing import Sealed
from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import ArchiveCorrupt, BackupError
from g3zkp_maint.progress import Progress

_ATTEMPTS = 100
_YAML_LIMIT = 256 << 20
_PIECE = 1 << 20

Facts = dict[str, int | str]


@dataclass(frozen=True, slots=True)
class Imported:
    """A component as the manifest will have it, and its archives."""

    component: Component
    archives: tuple[Archive, ...]


@dataclass
class PartImport:
    """To be used for one part. `what` names its artefact in errors; `on_stored` is told each key that was taken;
    archives get the ids from `first_id` on. Each method raises ArchiveCorrupt where the artefact is not whole."""

    repository: Repository
    settings: settings_module.Backup
    drill: settings_module.Drill
    clock: Clock
    progress: Progress
    backup: str
    component: str
    what: str
    first_id: int
    on_stored: Callable[[str], object]
    _archives: list[Archive] = field(default_factory=list)

    def files(self, pieces: Iterator[bytes]) -> Imported:
        """A `tar.gz` of a folder with the component's name."""
        repacker = Repacker(
            OldTar(pieces, top=self.component, what=self.what),
            top=self.component,
            what=self.what,
            weight=self.settings.shard_bytes,
            per_file=self.settings.shard_file_weight,
            progress=self.progress,
        )
        while repacker.has_more:
            self._archive_files(repacker)
        return self._imported(
            Component(
                name=self.component,
                kind="files",
                path=self.component,
                index=self._index(repacker),
                counts=repacker.counts(),
            )
        )

    def redis(self, pieces: Iterator[bytes]) -> Imported:
        """A dump: its checksum must be right, and a real server must load it. Raises SourceError where it does not,
        DrillFailed where there is none."""
        with scratch_folder(self.drill.scratch) as folder:
            facts = self._loaded(pieces, folder)
            from g3zkp_maint.backup.drill_redis import DUMP  # noqa: PLC0415 - imported above, by then

            return self._single("redis", "rdb", _file(folder / DUMP), facts)

    def objects(self, pieces: Iterator[bytes]) -> Imported:
        """A `List` of the cluster's objects; of it stays what our own backups keep, a document for each. `kubectl get all`
        has ReplicaSets and Pods as well: brought back without their owners they would start before their data is there."""
        found = in_order(kept(self._listed(pieces)))
        return self._single("kubernetes", "yaml", [as_yaml(found)], {"objects": len(found)})

    # -- files ---------------------------------------------------------------------------------------------------------

    def _archive_files(self, repacker: Repacker) -> None:
        number = len(self._archives)
        identity = self.first_id + number
        # Keys of a killed attempt are passed over beforehand: the contents come only once.
        key = self._free(f"{self.component}.{number:03d}", ".tar.zst.age")
        sealed = self.repository.put_archive(key, repacker.chunks(identity))
        self.on_stored(key)
        self._archives.append(self._archive(identity, key, sealed, repacker.entries))

    def _index(self, repacker: Repacker) -> Index:
        key = self._free(self.component, ".index.zst.age")
        sealed = self.repository.put_list(key, repacker.index_chunks())
        self.on_stored(key)
        return Index(key=key, size=sealed.size, sha256=sealed.digest, plain_size=sealed.plain_size, rows=repacker.count)

    # -- single objects ------------------------------------------------------------------------------------------------

    def _loaded(self, pieces: Iterator[bytes], folder: Path) -> Facts:
        """The facts that our own dumps have. Keys whose time has come count as keys that may expire."""
        from g3zkp_maint.backup import drill_redis  # noqa: PLC0415 - files alone do not pay for Redis's client

        programs = drill_redis.server_programs(self.drill.redis_server)
        with (folder / drill_redis.DUMP).open("wb") as file:
            for piece in checked(pieces):
                file.write(piece)
        deadline_seconds = self.drill.redis_seconds
        with drill_redis.loaded_by_any(programs, folder, clock=self.clock, deadline_seconds=deadline_seconds) as client:
            found = drill_redis.look(client)
            keyspace: dict[str, Any] = client.info("keyspace")
        expired = found.expired or 0
        expiring = sum(int(one["expires"]) for one in keyspace.values())
        return {"keys": found.keys + expired, "expiring": expiring + expired}

    def _listed(self, pieces: Iterator[bytes]) -> list[dict[str, Any]]:
        text = bytearray()
        for piece in pieces:
            text += piece
            if len(text) > _YAML_LIMIT:
                raise ArchiveCorrupt(f"{self.what} has more than {_YAML_LIMIT >> 20} MiB; it is no list of objects")
        try:
            document = yaml.load(bytes(text), Loader=_Texts)  # noqa: S506 - a safe loader
        except (yaml.YAMLError, ValueError, RecursionError):  # a YAMLError quotes the text, which holds Secrets
            raise ArchiveCorrupt(f"{self.what} is no YAML; use another copy") from None
        # `kind` comes after the items: a file that was cut short lacks it, however well it parses.
        is_list = isinstance(document, dict) and str(document.get("kind", "")).endswith("List")
        items = document.get("items") if is_list else None
        if not isinstance(items, list) or not all(isinstance(one, dict) and "kind" in one for one in items):
            raise ArchiveCorrupt(f"{self.what} is no whole List of objects; it was cut short? Use another copy")
        return items

    def _single(self, kind: Any, ending: str, pieces: Iterable[bytes], facts: Facts) -> Imported:
        hasher = blake3()

        def produce() -> Iterator[bytes]:
            for piece in pieces:
                hasher.update(piece)
                self.progress.advance(len(piece))
                yield piece

        key = self._free(f"{self.component}.{ending}", ".zst.age")
        sealed = self.repository.put_archive(key, produce())
        self.on_stored(key)
        self._archives.append(self._archive(self.first_id, key, sealed, 1, blake3=hasher.hexdigest()))
        counts = Counts(entries=1, bytes=sealed.plain_size, new_bytes=sealed.plain_size)
        return self._imported(Component(name=self.component, kind=kind, counts=counts, facts=facts))

    # -- both ----------------------------------------------------------------------------------------------------------

    def _imported(self, component: Component) -> Imported:
        return Imported(component, tuple(self._archives))

    def _archive(self, id: int, key: str, sealed: Sealed, entries: int, *, blake3: str | None = None) -> Archive:
        return Archive(
            id=id,
            backup=self.backup,
            component=self.component,
            key=key,
            size=sealed.size,
            sha256=sealed.digest,
            plain_size=sealed.plain_size,
            entries=entries,
            blake3=blake3,
        )

    def _free(self, stem: str, suffix: str) -> str:
        """A key that no attempt has taken."""
        folder = BackupName.parse(self.backup).folder
        prefix = f"{folder}/{stem}"
        taken = {
            self.repository.below(info.key) for info in self.repository.store.list(self.repository.full_key(prefix))
        }
        for attempt in range(_ATTEMPTS):
            key = f"{prefix}{f'-r{attempt}' if attempt else ''}{suffix}"
            if key not in taken:
                return key
        raise BackupError(f"{_ATTEMPTS} attempts have left {stem} of {self.backup}; see why they died, then prune")


class _Texts(yaml.CSafeLoader):
    """Takes times as the text that they are: a cluster writes them so, and would get them back otherwise spelt."""


_Texts.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
