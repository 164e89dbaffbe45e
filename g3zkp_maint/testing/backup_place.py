"""A place for tests of backups: data, a store and keys in one folder, and the settings that lead there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.request import BackupRequest
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.keys import material

#: What it backs up, as the setting has it.
COMPONENTS: list[dict[str, object]] = [
    {"name": "ipfs", "kind": "files", "path": "ipfs", "immutable": ["ipfs/blocks/*/*.data"]},
    {"name": "keys", "kind": "files", "path": "keys"},
]
_KEYS = {
    "RECIPIENTS": "recipients",
    "TRUSTED_SIGNERS": "trusted_signers",
    "SIGNING_KEY": "backup_signing_key",
    "MANIFEST_IDENTITY": "manifest_identity",
    "RECOVERY_IDENTITY": "recovery_identity",
}
_FIRST = datetime(2026, 1, 31, 2, tzinfo=UTC)


class _Ahead(SystemClock):
    """A day ahead: files written just now are old, so the next backup need not look at them again."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=1)


@dataclass(frozen=True)
class BackupPlace:
    """Below `root`: `data` (the messenger's folder), `store`, `keys`. `make` fills it with a small data set."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> BackupPlace:
        place = cls(root)
        place.write("ipfs/blocks/AB/CIQAB.data", b"block " * 500)
        place.write("ipfs/config", b"{}")
        place.write("keys/identity", b"not a real key")
        place._write_keys()
        return place

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def store(self) -> Path:
        return self.root / "store"

    def write(self, path: str, content: bytes) -> None:
        target = self.data / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def environment(self) -> dict[str, str]:
        """The settings, as variables."""
        keys = {f"G3ZKP_KEYS__{name}": str(self.root / "keys" / file) for name, file in _KEYS.items()}
        return {
            **keys,
            "G3ZKP_STORE__DIRECTORY__PATH": str(self.store),
            "G3ZKP_BACKUP__MOUNTED_ROOT": str(self.data),
            "G3ZKP_BACKUP__COMPONENTS": json.dumps(COMPONENTS),
            "G3ZKP_PLATFORM__STATE_DIR": str(self.root / "state"),
        }

    def take(self, number: int = 0, kind: BackupType = BackupType.FULL) -> Manifest:
        """Backup number so and so, an hour after the one before; without Redis."""
        request = BackupRequest(kind, f"test-{number}", _FIRST + timedelta(hours=number))
        with entered(self.environment()):
            services = Services(clock=_Ahead())
            made = back_up(services.workshop(Unguarded()), request)
            return services.repository.manifest(made.name)

    def stored(self, manifest: Manifest, file: str) -> Path:
        """Where an object of a backup is."""
        return self.store / manifest.folder / file

    def tree(self, root: Path | None = None) -> dict[str, bytes]:
        """The contents below `root` (the data folder), by path."""
        top = root or self.data
        return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}

    def _write_keys(self) -> None:
        made = material.generate()
        folder = self.root / "keys"
        folder.mkdir(mode=0o700)
        for name in _KEYS.values():
            (folder / name).write_text(getattr(made, name))
            (folder / name).chmod(0o600)


@contextmanager
def entered(environment: Mapping[str, str]) -> Iterator[None]:
    """The process's environment with these variables, while the block runs."""
    with mock.patch.dict(os.environ, environment):
        yield
