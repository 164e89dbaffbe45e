"""What is backed up and how, how long it is kept, and how that is proved."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from g3zkp_maint.settings.group import Count, Group, Hours, Positive, RedisUrl, Seconds


class Component(Group):
    """One part of a backup."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$", description="names its archives")]
    kind: Literal["files", "redis", "kubernetes"] = Field(
        description="a folder, a Redis dump, or the namespace's objects"
    )
    path: str | None = Field(None, description="files: the folder, relative to the messenger's data folder")
    immutable: tuple[str, ...] = Field(
        (), description="files: patterns of paths whose content never changes under one name, as IPFS blocks"
    )
    pre: tuple[tuple[str, ...], ...] = Field(
        (), description="commands run in the messenger before; a failure stops the backup"
    )
    post: tuple[tuple[str, ...], ...] = Field(
        (), description="commands run in the messenger after, also after a failure"
    )

    @model_validator(mode="after")
    def _path_is_confined(self) -> Component:
        if (self.kind == "files") != (self.path is not None):
            raise ValueError(f"component {self.name!r}: path goes with kind 'files', and only with it")
        if self.path is not None:
            path = PurePosixPath(self.path)
            is_plain = bool(path.parts) and str(path) == self.path
            if not is_plain or path.is_absolute() or ".." in path.parts:
                raise ValueError(
                    f"component {self.name!r}: path {self.path!r} must be relative, without '..', '.' or a slash at its end"
                )
        return self


class Backup(Group):
    """What is backed up, and how."""

    source: Literal["mounted", "exec"] = Field(
        "mounted", description="read the volume here, or through a command in the messenger's pod"
    )
    mounted_root: Path = Field(Path("/data"), description="the messenger's data folder as this worker has it mounted")
    components: tuple[Component, ...] = Field(
        (
            Component(name="ipfs", kind="files", path="ipfs", immutable=("ipfs/blocks/*/*.data",)),
            Component(name="keys", kind="files", path="keys"),
            Component(name="redis", kind="redis"),
            Component(name="k8s", kind="kubernetes"),
        ),
        description="the parts of a backup, in the order they are taken",
    )
    compression_level: Annotated[
        int, Field(ge=1, le=19, description="zstandard's; 3 stores 2 % less than 1 and takes a third longer")
    ] = 1
    shard_bytes: Positive = Field(256 << 20, description="the weight at which a shard is closed; a shard is one task")
    shard_file_weight: Positive = Field(16 << 10, description="what a file weighs beside its bytes")
    bgsave_seconds: Seconds = Field(600, description="how long a BGSAVE may take")
    redis_url: RedisUrl | None = Field(None, description="the messenger's Redis")
    redis_data: PurePosixPath = Field(
        PurePosixPath("/data"),
        description="the folder of the messenger's Redis as its server sees it, for a restore that finds it down",
    )

    @field_validator("components")
    @classmethod
    def _names_differ(cls, components: tuple[Component, ...]) -> tuple[Component, ...]:
        names = [c.name for c in components]
        if len(set(names)) != len(names):
            raise ValueError(f"component names must differ, got {names}")
        return components


class Retention(Group):
    """Which backups are kept, and how the others go. The newest backup and the newest full one always stay."""

    keep_within_days: Positive = Field(30, description="every backup younger than this is kept")
    keep_daily: Count = Field(0, description="also the newest of each of so many days that have one")
    keep_weekly: Count = Field(0, description="the same by ISO week, which begins on Monday")
    keep_monthly: Count = Field(0, description="the same by month")
    keep_yearly: Count = Field(0, description="the same by year")
    max_share_per_run: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="a run that would take a larger part of all backups takes none and fails, unless forced"
    )
    delete_after_hours: Hours = Field(12, description="how long a backup stays marked before it is deleted")
    sweep_after_hours: Hours = Field(48, description="leftovers of dead runs are removed when they are older than this")


class Verify(Group):
    """The daily re-reading of what is stored."""

    reread_days: Annotated[int, Field(ge=1, le=366)] = Field(
        30, description="every stored byte is read again within so many days; each day its share of them"
    )
    reread_bytes: Positive | None = Field(
        None,
        description="so many bytes a run at most, and one object more; none: as many as reread_days asks for. Where it is "
        "less, runs say so, and g3zkp_maint_reread_overdue_objects counts what is late",
    )


class Restore(Group):
    """What a restore from a remote store keeps on a local disk, to read it once."""

    scratch: Path | None = Field(
        Path("/var/tmp/g3zkp-restore"),  # noqa: S108 - made with mode 0700, and left alone where it is another's
        description="the folder for archives that were checked and are restored next, sealed as they are stored; "
        "none: they are read from the store twice",
    )
    scratch_bytes: Positive = Field(
        8 << 30, description="how much is kept there at most; 1 GiB of the disk stays free in any case"
    )


class Reference(Group):
    """A kind of reference that a drill follows from Redis to a file."""

    keys: Annotated[str, Field(min_length=1, description="Redis: a pattern of keys, as SCAN takes it")]
    field: str | None = Field(None, description="the field of a hash that refers; none: the string itself")
    file: str = Field(description="the path of what it refers to: {} for the value, * for any name")
    may_miss: Count = Field(
        0, description="so many may refer to nothing, as files and Redis are saved one after another"
    )

    @field_validator("file")
    @classmethod
    def _has_one_place(cls, file: str) -> str:
        if file.count("{}") != 1:
            raise ValueError(f"{file!r} must hold {{}} once, for the value of the reference")
        return file


class Drill(Group):
    """Restores for proof, by the crypto fleet."""

    scratch: Path = Field(
        Path("/var/tmp/g3zkp-drill"),  # noqa: S108 - made with mode 0700, and refused where it is another's
        description="the folder that drills restore into, ours alone; holds secrets in the clear while one runs",
    )
    redis_server: str | None = Field(
        None,
        description="the program that loads the Redis dump; none: the embedded one, else valkey-server or redis-server",
    )
    redis_seconds: Seconds = Field(600, description="how long the dump may take to load")
    references: tuple[Reference, ...] = Field(
        (), description="what is followed from Redis to files: keys, field, file and may_miss of each"
    )
