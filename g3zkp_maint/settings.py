"""The one tree of settings: from the environment (`G3ZKP_*`, nested by `__`) over a TOML file.

`G3ZKP_CONFIG` names that file; it is optional. Read once, by `bootstrap`, and handed down as arguments.
Defaults are those of the maintenance protocols; a test pins them. Durations and sizes carry their unit in their name.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as ComplexValueError

from g3zkp_maint import setting_names as names
from g3zkp_maint.errors import SettingsError

Seconds = Annotated[float, Field(gt=0)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Hours = Annotated[float, Field(ge=0)]


def _is_redis_url(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError(
            "must start with redis://, rediss:// or unix:// (the value is not shown, it may hold a password)"
        )
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_is_redis_url)]


class Group(BaseModel):
    """One topic of the tree."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Redis(Group):
    """Broker, results, leases, run records and the journal."""

    url: RedisUrl = Field(SecretStr("redis://127.0.0.1:6379/0"), description="where Redis (or Valkey) is")


class Coordination(Group):
    """Leases and run records."""

    lease_ttl_seconds: Seconds = Field(60, description="a lease that is not renewed for this long is lost")
    lease_renew_seconds: Seconds = Field(20, description="how often a holder renews; well under the time to live")
    lease_wait_seconds: Seconds = Field(7200, description="how long a run waits for a lease before it fails")
    retry_seconds: Seconds = Field(10, description="the pause before what waits tries again")
    handoff_seconds: Seconds = Field(300, description="a run between two steps for longer than this is started again")
    grace_seconds: Seconds = Field(
        120, description="a waiting run that nobody has tried again this long past its time is started again"
    )
    reap_seconds: Seconds = Field(30, description="how often runs of dead workers are looked for")
    run_keep_days: Positive = Field(14, description="how long a run's record and result are kept")
    max_attempts: Positive = Field(
        4, description="starts of one run after which it is failed, so that none kills for ever"
    )
    journal_records: Positive = Field(200_000, description="the journal's cap; older records fall out")

    @model_validator(mode="after")
    def _renews_in_time(self) -> Coordination:
        if self.lease_renew_seconds * 2 > self.lease_ttl_seconds:
            raise ValueError(
                f"lease_renew_seconds={self.lease_renew_seconds:g} must be at most half of "
                f"lease_ttl_seconds={self.lease_ttl_seconds:g}, or one late renewal loses the lease"
            )
        return self


class Tasks(Group):
    """Celery: limits and results."""

    soft_limit_seconds: Positive = Field(
        6 * 3600, description="a task is asked to stop after this, unless the calendar says less"
    )
    hard_limit_seconds: Positive = Field(6 * 3600 + 300, description="and is killed after this")
    visibility_seconds: Positive = Field(
        8 * 3600, description="Redis gives a message out again after this; above the hard limit"
    )
    result_days: Positive = Field(14, description="how long Celery keeps results")

    shutdown_seconds: Positive = Field(
        60, description="how long a worker that is told to stop lets its tasks go on; below a pod's grace period"
    )

    @model_validator(mode="after")
    def _limits_are_ordered(self) -> Tasks:
        if not self.soft_limit_seconds < self.hard_limit_seconds < self.visibility_seconds:
            raise ValueError(
                f"soft_limit_seconds={self.soft_limit_seconds} < hard_limit_seconds={self.hard_limit_seconds} < "
                f"visibility_seconds={self.visibility_seconds} must hold"
            )
        return self


class Beat(Group):
    """The dispatcher of the calendar."""

    calendar: str = Field("beat_schedule", description="the Python module that holds the calendar as CALENDAR")
    loop_seconds: Seconds = Field(5, description="the longest pause between two looks at the calendar")
    lock_seconds: Positive = Field(
        30, description="a dead leader is succeeded after this; at least 5 times the loop, under 60"
    )
    starting_deadline_seconds: Positive = Field(
        3600, description="a firing missed by less than this still counts as on time"
    )

    @model_validator(mode="after")
    def _lock_outlives_the_loop(self) -> Beat:
        if self.lock_seconds < 5 * self.loop_seconds or self.lock_seconds >= 60:
            raise ValueError(
                f"lock_seconds={self.lock_seconds} must be at least 5 x loop_seconds={self.loop_seconds:g} and under 60"
            )
        return self


class DirectoryStore(Group):
    """A folder."""

    path: Path = Field(Path("/backups/g3zkp"), description="the folder that holds the backups")


class S3Store(Group):
    """A bucket. Where no keys are given here, AWS's own variables, profile or role are used."""

    bucket: str = Field("g3zkp-backups", description="the bucket that holds the backups")
    endpoint_url: str | None = Field(None, description="the server, http:// or https://; none: AWS")
    region: str | None = Field(None, description="the bucket's region; none: as AWS's own configuration has it")
    path_style: bool = Field(False, description="the bucket's name in the path, not in the host name")
    ca_bundle: Path | None = Field(None, description="PEM file of the authorities that sign the server's certificate")
    access_key_id_file: Path | None = Field(None, description="a file that holds the access key's id and nothing else")
    secret_access_key_file: Path | None = Field(None, description="a file that holds the secret key and nothing else")
    access_key_id: SecretStr | None = Field(None, description="the access key's id; better in a file")
    secret_access_key: SecretStr | None = Field(None, description="the secret key; better in a file")
    part_bytes: Annotated[int, Field(ge=5 << 20, le=5 << 30, description="larger objects go up in parts of this")] = (
        8 << 20
    )
    parts_in_flight: Positive = Field(
        4, description="parts of one object that go up at once; memory is this, and one more, times part_bytes"
    )
    checksum: Literal["crc32", "sha256", "none"] = Field(
        "crc32", description="what the server verifies each part and object by; none: for servers that know neither"
    )
    completion: Literal["auto", "server", "claim"] = Field(
        "auto",
        description="who decides which of two uploads by parts is first: the server, where its conditional completion "
        "is atomic, or a claim object; auto: the server at AWS, else a claim",
    )
    sse: Literal["none", "AES256", "aws:kms"] = Field("none", description="encryption by the server, besides age")
    sse_kms_key_id: str | None = Field(None, description="aws:kms: which key; none: the bucket's default")
    lock_mode: Literal["none", "GOVERNANCE", "COMPLIANCE"] = Field(
        "none", description="Object Lock on each object; the bucket must have been made with it"
    )
    lock_days: Positive | None = Field(None, description="how long each object is locked")
    connect_seconds: Seconds = Field(10, description="how long a connection may take")
    read_seconds: Seconds = Field(60, description="how long the server may be silent")
    attempts: Positive = Field(3, description="of one request, before it is tried anew as a whole (three times)")
    retry_seconds: Seconds = Field(0.5, description="the pause before it is tried anew; each further one is 4 times it")

    def completes_exclusively(self) -> bool:
        """Whether the server's conditional completion of an upload is relied on."""
        return self.completion == "server" or (self.completion == "auto" and self.endpoint_url is None)

    @field_validator("endpoint_url")
    @classmethod
    def _is_plain_url(cls, url: str | None) -> str | None:
        if url is not None and (not url.startswith(("http://", "https://")) or "@" in url):
            raise ValueError("must start with http:// or https:// and hold no credentials")
        return url

    @model_validator(mode="after")
    def _pairs_are_whole(self) -> S3Store:
        for one, other in (
            ("access_key_id_file", "secret_access_key_file"),
            ("access_key_id", "secret_access_key"),
        ):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} go together")
        if (self.lock_mode == "none") != (self.lock_days is None):
            raise ValueError("lock_mode and lock_days go together")
        if self.sse_kms_key_id is not None and self.sse != "aws:kms":
            raise ValueError("sse_kms_key_id goes with sse='aws:kms'")
        return self


def _is_confined(prefix: str) -> str:
    if prefix.startswith("/") or prefix.endswith("/") or ".." in PurePosixPath(prefix).parts:
        raise ValueError(f"{prefix!r} must be a relative path without '..' and without slashes at its ends")
    return prefix


Prefix = Annotated[str, AfterValidator(_is_confined)]


class Store(Group):
    """Where archives go."""

    kind: Literal["directory", "s3"] = Field("directory", description="a folder, or a bucket by the S3 protocol")
    prefix: Prefix = Field("", description="put before every key, without slashes at its ends")
    directory: DirectoryStore = DirectoryStore()
    s3: S3Store = S3Store()


class SecondStore(Group):
    """Where copies of backups go: other hardware, another place. Each backup is copied once it is made."""

    kind: Literal["none", "directory", "s3"] = Field("none", description="no copies, a folder, or a bucket")
    prefix: Prefix = Field("", description="put before every key, without slashes at its ends")
    directory: DirectoryStore = DirectoryStore()
    s3: S3Store = S3Store()


class Staging(Group):
    """Copies of what is stored, on a local disk: a restore takes an object from there where it is whole."""

    path: Path | None = Field(None, description="the folder; none: no local copies")
    keep_days: Positive = Field(7, description="how long a local copy stays; prune removes those that are older")


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
    redis_url: RedisUrl | None = Field(None, description="the messenger's Redis; its volume is `redis_data`")
    redis_data: Path | None = Field(None, description="local: the folder of the messenger's Redis")

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


class Keys(Group):
    """Files that hold keys. A fleet is given only those that it may have; what it lacks stays None."""

    recipients: Path | None = Field(None, description="age recipients (public), one a line: who can open archives")
    trusted_signers: Path | None = Field(
        None, description="Ed25519 public keys (base64), one a line: whose manifests count"
    )
    signing_key: Path | None = Field(None, description="this fleet's Ed25519 private key (PEM), signs manifests")
    manifest_identity: Path | None = Field(None, description="the age identity that opens file lists, and no archive")
    recovery_identity: Path | None = Field(None, description="the age identity that opens archives: crypto fleet only")


class Log(Group):
    """What the fleets write on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least level that is written")
    json_lines: bool = Field(True, description="JSON lines; else for people")


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
    drill: Drill = Drill()
    keys: Keys = Keys()
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
