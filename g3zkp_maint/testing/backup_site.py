"""A whole small world for backups, on a folder: keys, a store, a data folder and a clock. No Redis, no platform."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.request import BackupRequest, Workshop
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.backup.unpack import Unpacked, Unpacker
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Guard, Unguarded
from g3zkp_maint.settings import Backup, Component
from g3zkp_maint.stores.base import Store
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.testing.exec_place import ExecPlace

#: When the first backup of a site is made; each further one comes a day later.
FIRST = datetime(2026, 1, 4, 2, 0, 0, tzinfo=UTC)


def new_keyring() -> Keyring:
    """Fresh keys of every sort."""
    identity, signing = pyrage.x25519.Identity.generate(), Ed25519PrivateKey.generate()
    return Keyring(
        recipients=[identity.to_public()],
        signers=[signing.public_key()],
        signing_key=signing,
        manifest_identity=pyrage.x25519.Identity.generate(),
        recovery_identities=[identity],
    )


def of_backup_fleet(keyring: Keyring) -> Keyring:
    """What of it a backup worker is given: it opens no archive."""
    return replace(keyring, recovery_identities=())


@dataclass
class BackupSite:
    """`base` is an empty folder. The data is in `data`; its one component is the folder `ipfs`. `by_exec`: read and
    restored by commands, in `place`."""

    base: Path
    keyring: Keyring = field(default_factory=new_keyring)
    components: tuple[Component, ...] = (Component(name="ipfs", kind="files", path="ipfs"),)
    shard_bytes: int = 1 << 20
    made: int = 0
    by_exec: bool = False

    def __post_init__(self) -> None:
        self.tree.mkdir(parents=True, exist_ok=True)
        self.store: Store = DirectoryStore(self.base / "store")
        self.place = ExecPlace(self.base)

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def tree(self) -> Path:
        return self.data / "ipfs"

    @property
    def objects(self) -> Path:
        """The folder behind the store."""
        return self.base / "store"

    @property
    def repository(self) -> Repository:
        return Repository(self.store, self.keyring)

    def workshop(self, guard: Guard | None = None) -> Workshop:
        settings = Backup(mounted_root=self.data, components=self.components, shard_bytes=self.shard_bytes)
        fleet = Repository(self.store, of_backup_fleet(self.keyring))
        source = self.place.source(self.data) if self.by_exec else None
        return Workshop(fleet, settings, SystemClock(), guard or Unguarded(), source=source)

    def request(self, type: str = "full", run: str | None = None) -> BackupRequest:
        """The next one; the same again for a `run` of the form `run-N`."""
        if run is None:
            self.made += 1
            run = f"run-{self.made}"
        day = int(run.rpartition("-")[2]) - 1
        return BackupRequest(BackupType.parse(type), run, FIRST + timedelta(days=day))

    def back_up(self, type: str = "full", run: str | None = None, *, processes: int = 1) -> Manifest:
        return back_up(self.workshop(), self.request(type, run), processes=processes)

    def restore(self, manifest: Manifest, to: Path, *, guard: Guard | None = None) -> Unpacked:
        target = self.place.target(to) if self.by_exec else MountedTarget(to)
        return Unpacker(self.repository, target, guard or Unguarded()).unpack(manifest, "ipfs")
