"""Where newer versions are asked for. What names no place is not asked, and told so."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from g3zkp_maint.settings.group import Group, Seconds


class Dependencies(Group):
    """The monthly look at versions. It reads only; nothing is ever upgraded by it."""

    look_into_messenger: bool = Field(
        True, description="ask `npm outdated` in the messenger, which asks the registry that its npm is set to"
    )
    npm_seconds: Seconds = Field(60, description="how long that may take")
    npm_lock: Path | None = Field(
        None, description="the messenger's package-lock.json, instead of npm in the messenger"
    )
    npm_registry: str | None = Field(None, description="for the lock file: address of an npm registry")
    python_index: str | None = Field(
        None, description="for our own dependencies: address of a simple index that speaks JSON (PEP 691)"
    )
    image_registries: dict[str, str] = Field(
        default_factory=dict,
        description="addresses of image registries by the host in an image's name, '' for names without one; a host that "
        "is not here is asked by https under its own name",
    )
    answer_seconds: Seconds = Field(20, description="how long each registry may take to answer")
