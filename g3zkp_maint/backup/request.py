"""What a backup run is asked for, and the services that it works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from g3zkp_maint import settings as settings_module
from g3zkp_maint.backup.mounted import MountedSource
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.source import Source
from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.platforms.base import Platform
from g3zkp_maint.progress import NoProgress, Progress


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """`run` is the slot or key that this backup is for, the same at every repetition; `at` the time that names it."""

    type: BackupType
    run: str
    at: datetime


@dataclass(frozen=True)
class Workshop:
    """All that the steps of a backup need. `platform` may be None where no component asks for it; `source` None reads
    the folder `mounted_root` of the settings."""

    repository: Repository
    settings: settings_module.Backup
    clock: Clock
    guard: Guard
    platform: Platform | None = None
    progress: Progress = field(default_factory=NoProgress)
    source: Source | None = None

    @property
    def files(self) -> Source:
        """The messenger's data folder."""
        return self.source or MountedSource(self.settings.mounted_root)
