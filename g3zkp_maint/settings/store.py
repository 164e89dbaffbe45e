"""Where archives go."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from g3zkp_maint.settings.group import Group, Positive, Seconds


class DirectoryStore(Group):
    """A folder."""

    path: Path = Field(Path("/backups/g3zkp"), description="the folder that holds the backups")


class S3Store(Group):
    """A bucket. Where no keys are given here, AWS's own variables, profile or role are used."""

    bucket: str = Field("g3zkp-backups", description="the bucket that holds the backups")
    endpoint_url: str | None = Field(
        None, description="the server, http:// or https://; none: AWS, whatever AWS_ENDPOINT_URL says"
    )
    region: str | None = Field(None, description="the bucket's region; none: as AWS's own configuration has it")
    path_style: bool | None = Field(
        None,
        description="the bucket's name in the path (true) or in the host name (false); none: in the host name at AWS, in "
        "the path at any other server",
    )
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
    prune: bool = Field(
        True, description="whether retention holds there too; no: where its credentials may not delete, or all stays"
    )
    prefix: Prefix = Field("", description="put before every key, without slashes at its ends")
    directory: DirectoryStore = DirectoryStore()
    s3: S3Store = S3Store()


class Staging(Group):
    """Copies of what is stored, on a local disk: a restore takes an object from there where it is whole."""

    path: Path | None = Field(
        None, description="the folder, one for the backup and the crypto fleet; none: no local copies"
    )
    keep_days: Positive = Field(
        7, description="how long a local copy stays; backup.prune, in the backup fleet, removes those that are older"
    )
