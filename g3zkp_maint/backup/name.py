"""Names of backups: `g3zkp_{full|incremental}_YYYYMMDD_HHMMSS`, as the operators' scripts have always made them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from g3zkp_maint.errors import BadInput

_NAME = re.compile(r"g3zkp_(full|incremental)_(\d{8}_\d{6})")


class BackupType(StrEnum):
    FULL = "full"
    INCREMENTAL = "incremental"

    @classmethod
    def parse(cls, text: str) -> BackupType:
        """Raises BadInput, which says what there is."""
        try:
            return cls(text)
        except ValueError:
            raise BadInput(f"{text!r} is no type of backup; use 'full' or 'incremental'") from None


@dataclass(frozen=True, slots=True, order=True)
class BackupName:
    """Ordered by time, then by type. `at` is UTC, in whole seconds."""

    at: datetime
    type: BackupType

    @classmethod
    def parse(cls, text: str) -> BackupName:
        """Raises BadInput where `text` is no name of a backup."""
        match = _NAME.fullmatch(text)
        if match is None:
            raise BadInput(f"{text!r} is no backup name; one looks like g3zkp_full_20260131_020000")
        try:
            at = datetime.strptime(match[2], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            raise BadInput(f"{text!r} is no backup name: {match[2]} is no time") from None
        return cls(at, BackupType(match[1]))

    def __str__(self) -> str:
        return f"g3zkp_{self.type}_{self.at:%Y%m%d_%H%M%S}"

    @property
    def folder(self) -> str:
        """Where its objects are in the store, below the prefix."""
        return f"{self.at:%Y/%m}/{self}"
