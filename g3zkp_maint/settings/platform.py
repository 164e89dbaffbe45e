"""Where the messenger runs, and what is known of it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from g3zkp_maint.settings.group import Group, Seconds


class Platform(Group):
    """Where the messenger runs."""

    kind: Literal["local", "kubernetes"] = Field("local", description="processes of this machine, or a cluster")
    namespace: str = Field("g3zkp", description="kubernetes: the messenger's namespace")
    state_dir: Path = Field(Path("state"), description="local: the folder of the embedded stack")
    rollout_seconds: Seconds = Field(300, description="how long a rollout or a start may take")
    stop_seconds: Seconds = Field(120, description="how long instances may take to be gone")


class Messenger(Group):
    """What the product knows of the messenger."""

    data_path: PurePosixPath = Field(PurePosixPath("/data"), description="the data folder as the messenger sees it")
    keys_secret: str = Field("g3zkp-keys", description="the Secret that holds the messenger's keys")
    append_backup_log: bool = Field(
        True, description="append a line to logs/backup.log in the data folder after each backup"
    )
