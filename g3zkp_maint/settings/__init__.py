"""The one tree of settings: from the environment (`G3ZKP_*`, nested by `__`) over a TOML file.

`G3ZKP_CONFIG` names that file; it is optional. Read once, by `bootstrap`, and handed down as arguments.
Defaults are those of the maintenance protocols; a test pins them. Durations and sizes carry their unit in their name.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as ComplexValueError

from g3zkp_maint import setting_names as names
from g3zkp_maint.errors import SettingsError
from g3zkp_maint.settings.audit import Audit
from g3zkp_maint.settings.backup import Backup, Component, Drill, Reference, Restore, Retention, Verify
from g3zkp_maint.settings.certificates import Certificates
from g3zkp_maint.settings.cleanup import Cleanup
from g3zkp_maint.settings.coordination import Beat, Coordination, Redis, Tasks
from g3zkp_maint.settings.dependencies import Dependencies
from g3zkp_maint.settings.group import Group
from g3zkp_maint.settings.health import Health
from g3zkp_maint.settings.keys import Keys
from g3zkp_maint.settings.log import Log
from g3zkp_maint.settings.metrics import Metrics
from g3zkp_maint.settings.notices import Notices
from g3zkp_maint.settings.performance import Performance
from g3zkp_maint.settings.platform import Messenger, Platform
from g3zkp_maint.settings.rotation import Rotation
from g3zkp_maint.settings.store import DirectoryStore, S3Store, SecondStore, Staging, Store
from g3zkp_maint.settings.windows import Windows

__all__ = [
    "Audit",
    "Backup",
    "Beat",
    "Certificates",
    "Cleanup",
    "Component",
    "Coordination",
    "Dependencies",
    "DirectoryStore",
    "Drill",
    "Group",
    "Health",
    "Keys",
    "Log",
    "Messenger",
    "Metrics",
    "Notices",
    "Performance",
    "Platform",
    "Redis",
    "Reference",
    "Restore",
    "Retention",
    "Rotation",
    "S3Store",
    "SecondStore",
    "Settings",
    "Staging",
    "Store",
    "Tasks",
    "Verify",
    "Windows",
    "explain",
    "load",
    "read_file",
]


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="G3ZKP_", env_nested_delimiter="__", frozen=True, extra="forbid", validate_default=True
    )

    redis: Redis = Redis()
    coordination: Coordination = Coordination()
    tasks: Tasks = Tasks()
    beat: Beat = Beat()
    store: Store = Store()
    second_store: SecondStore = SecondStore()
    staging: Staging = Staging()
    platform: Platform = Platform()
    messenger: Messenger = Messenger()
    backup: Backup = Backup()
    retention: Retention = Retention()
    verify: Verify = Verify()
    restore: Restore = Restore()
    drill: Drill = Drill()
    cleanup: Cleanup = Cleanup()
    health: Health = Health()
    audit: Audit = Audit()
    performance: Performance = Performance()
    certificates: Certificates = Certificates()
    dependencies: Dependencies = Dependencies()
    notices: Notices = Notices()
    keys: Keys = Keys()
    rotation: Rotation = Rotation()
    windows: Windows = Windows()
    metrics: Metrics = Metrics()
    log: Log = Log()

    @model_validator(mode="after")
    def _stores_differ(self) -> Settings:
        first, second = self.store, self.second_store
        if first.kind != second.kind:
            return self
        if first.prefix == second.prefix and getattr(first, first.kind) == getattr(second, first.kind):
            raise ValueError("second_store is the store itself: name another place, or set second_store.kind='none'")
        return self

    @model_validator(mode="after")
    def _staging_is_apart(self) -> Settings:
        if self.store.kind == "directory" and self.staging.path == self.store.directory.path:
            raise ValueError(f"staging.path={self.staging.path} is the store's own folder: name another one")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get("G3ZKP_CONFIG")
        if path is None:
            return (init_settings, env_settings)
        return (init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=read_file(path)))


def load() -> Settings:
    """The settings of this process. Raises SettingsError, which names each wrong field and its value."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise SettingsError(explain(error)) from None
    except ComplexValueError as error:
        raise SettingsError(f"wrong settings: {error}; a group or a list is written as JSON") from None
    unknown = names.unknown_variables(Settings, os.environ)
    if unknown:
        raise SettingsError("wrong settings:\n  " + "\n  ".join(map(str, unknown)))
    return settings


def explain(error: ValidationError) -> str:
    """One line a wrong field: its dotted name, what is wrong, the value (a secret's value never)."""
    lines = []
    for item in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in item["loc"]) or "settings"
        lines.append(f"{field}: {item['msg'].removeprefix('Value error, ')}{_shown(item['loc'], item['input'])}")
    return "wrong settings:\n  " + "\n  ".join(lines)


def _shown(location: tuple[int | str, ...], value: object) -> str:
    """The wrong value, where it can be shown: plain, and of a field that exists (a misspelt one may hold a secret)."""
    leaf = names.leaf_at(Settings, location)
    if leaf is None or leaf.secret or not isinstance(value, str | int | float | None):
        return ""
    text = repr(value)
    return f" (got {text if len(text) <= 200 else text[:200] + '…'})"


def read_file(path: str) -> dict[str, object]:
    """The TOML file's tree. Raises SettingsError with the line where the syntax is wrong."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"G3ZKP_CONFIG={path} cannot be read ({error.strerror}); create it or unset the variable"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
