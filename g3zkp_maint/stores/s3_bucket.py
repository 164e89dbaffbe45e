"""A bucket as this process speaks to it: one client a process, errors translated, objects put whole.

Clients share sockets, which no two processes may: a forked child makes its own client when it first asks for it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import ObjectExists, ObjectMissing, SettingsError, StoreError, StoreUnavailable
from g3zkp_maint.settings import S3Store as S3Settings
from g3zkp_maint.stores import s3_errors

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

#: The object's metadata: the SHA-256 of its bytes, and whose `put` wrote it.
DIGEST, WRITER = "sha256", "writer"
#: How often a request is tried here, each time with botocore's own attempts; each pause is four times the one before.
_ROUNDS = 3
#: By `path_style`, in botocore's words. Its "auto" never has the bucket in the host name of a server that is not AWS.
_ADDRESSING: Final[Mapping[bool | None, Literal["auto", "path", "virtual"]]] = {
    None: "auto",
    True: "path",
    False: "virtual",
}

Result = TypeVar("Result")


class Bucket:
    """Speaks to `settings.bucket`."""

    def __init__(self, settings: S3Settings, *, clock: Clock) -> None:
        self.settings = settings
        self.place = f"the bucket {settings.bucket}" + (f" at {settings.endpoint_url}" if settings.endpoint_url else "")
        #: Whether the server was seen to honour If-None-Match. Of AWS it is known.
        self._is_conditional = settings.endpoint_url is None
        self._clock = clock
        self._clients: dict[int, S3Client] = {}
        self._lock = threading.Lock()
        self._is_known = False

    @property
    def client(self) -> S3Client:
        """The one of this process. Raises SettingsError for key files that cannot be read."""
        process = os.getpid()
        if process not in self._clients:
            with self._lock:
                if process not in self._clients:
                    self._clients = {process: _client(self.settings)}
        return self._clients[process]

    @contextmanager
    def speaking(self, key: str = "") -> Iterator[S3Client]:
        """A client whose errors come out as StoreErrors. What must be in an answer is taken from it in the block: a head
        of an answer that is cut short counts as whole with Python's HTTP client, so fields may be missing."""
        try:
            yield self.client
        except (BotoCoreError, ClientError) as error:
            raise s3_errors.translated(error, place=self.place, key=key) from error
        except KeyError as error:
            raise StoreUnavailable(
                f"an answer from {self.place}, at {key or 'the bucket'}, lacks its {error}"
            ) from error

    def persistently(self, call: Callable[[], Result], *, stop: threading.Event | None = None) -> Result:
        """Calls again after a StoreUnavailable, on top of botocore's own attempts. `stop`, set, ends the waiting."""
        halt = stop or threading.Event()
        for number in range(_ROUNDS - 1):
            try:
                return call()
            except StoreUnavailable:
                if halt.wait(self.settings.retry_seconds * 4**number):
                    raise
        return call()

    # -- one object ----------------------------------------------------------------------------------------------------

    def head(self, key: str) -> HeadObjectOutputTypeDef:
        """Raises ObjectMissing, or StoreError where the bucket is missing: a HEAD's 404 does not say which."""
        try:
            with self.speaking(key) as client:
                answer = client.head_object(Bucket=self.settings.bucket, Key=key)
                _ = etag_of(answer), answer["ContentLength"], answer["LastModified"], date_of(answer)
                return answer
        except ObjectMissing:
            self._check_there()
            raise

    def put_whole(self, key: str, body: bytes | bytearray, *, digest: str, if_absent: bool, **more: Any) -> None:
        """One request for the object. Raises ObjectExists, decided by the server; StoreError where it cannot decide."""
        writer = secrets.token_hex(8)
        arguments = {**self.checksum(body), **more, "Body": body, "Metadata": {DIGEST: digest, WRITER: writer}}

        def write() -> None:
            with self.speaking(key) as client:
                client.put_object(Bucket=self.settings.bucket, Key=key, **arguments)

        if not if_absent:
            self.landed_or_raise(key, writer, lambda: self.persistently(write))
            return
        arguments["IfNoneMatch"] = "*"
        if not self._is_conditional:
            self._refuse_taken(key)
        self.landed_or_raise(key, writer, lambda: self.persistently(write))
        self._prove_conditional(write)

    def landed_or_raise(self, key: str, writer: str, call: Callable[[], None]) -> None:
        """An answer that is lost leaves open whether the object was written; and a second try then finds it taken, by
        the first. Who wrote it, its metadata says. Raises StoreUnavailable where that cannot be found out."""
        try:
            call()
        except (ObjectExists, ObjectMissing, StoreUnavailable):
            if not self._is_written_by(key, writer):
                raise

    def _is_written_by(self, key: str, writer: str) -> bool:
        try:
            found = self.persistently(lambda: self.head(key))
        except ObjectMissing:
            return False
        return found["Metadata"].get(WRITER) == writer

    def _refuse_taken(self, key: str) -> None:
        try:
            self.persistently(lambda: self.head(key))
        except ObjectMissing:
            return
        raise ObjectExists(f"{key} is in {self.place} already; objects are never overwritten")

    def _prove_conditional(self, write: Callable[[], None]) -> None:
        """Servers that do not know If-None-Match ignore it. The same write once more tells, and changes nothing."""
        if self._is_conditional:
            return
        try:
            self.persistently(write)
        except ObjectExists:
            self._is_conditional = True
            return
        except StoreUnavailable:  # the object is there; the next one will tell
            return
        raise StoreError(
            f"{self.place} ignores If-None-Match, so two writers could overwrite each other; use a server that has "
            "conditional writes (AWS S3, MinIO, Ceph 19 or newer, SeaweedFS 4 or newer), or store.kind=directory"
        )

    def _check_there(self) -> None:
        if self._is_known:
            return
        try:
            with self.speaking() as client:
                client.head_bucket(Bucket=self.settings.bucket)
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and s3_errors.code_of(cause) in {"404", "NoSuchBucket"}:
                raise s3_errors.no_bucket(self.place) from cause
            return  # it may be forbidden to ask; then the answer for the key stands
        self._is_known = True

    # -- what goes with a write ----------------------------------------------------------------------------------------

    def protection(self) -> dict[str, Any]:
        """Encryption and lock, as the settings have them: for PutObject and CreateMultipartUpload."""
        settings = self.settings
        found: dict[str, Any] = {}
        if settings.sse != "none":
            found["ServerSideEncryption"] = settings.sse
        if settings.sse_kms_key_id is not None:
            found["SSEKMSKeyId"] = settings.sse_kms_key_id
        if settings.lock_mode == "none" or settings.lock_days is None:
            return found
        until = self._clock.now() + timedelta(days=settings.lock_days)
        return {**found, "ObjectLockMode": settings.lock_mode, "ObjectLockRetainUntilDate": until}

    def checksum(self, body: bytes | bytearray) -> dict[str, str]:
        """The checksum that the server holds against what it received: for PutObject and UploadPart."""
        match self.settings.checksum:
            case "crc32":
                raw = zlib.crc32(body).to_bytes(4, "big")
            case "sha256":
                raw = hashlib.sha256(body).digest()
            case "none":
                return {}
        return {f"Checksum{self.settings.checksum.upper()}": base64.b64encode(raw).decode()}


def etag_of(answer: Mapping[str, Any]) -> str:
    """Raises KeyError where it is missing or cut short."""
    etag: str = answer["ETag"]
    if not etag.endswith('"'):
        raise KeyError("ETag")
    return etag


def date_of(answer: Mapping[str, Any]) -> datetime:
    """The server's clock. Raises KeyError where it is missing or cut short."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except ValueError:
        raise KeyError("Date") from None


def _client(settings: S3Settings) -> S3Client:
    config = Config(  # type: ignore[call-arg]  # the stubs lack ignore_configured_endpoint_urls
        connect_timeout=settings.connect_seconds,
        read_timeout=settings.read_seconds,
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        max_pool_connections=settings.parts_in_flight + 8,
        # Ours are explicit: what botocore adds by itself, some servers refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # AWS_ENDPOINT_URL would lead to another server than the settings name, with AWS's promises taken for its own.
        ignore_configured_endpoint_urls=True,
        s3={"addressing_style": _ADDRESSING[settings.path_style]},
    )
    access_key, secret_key = credentials(settings)
    if settings.ca_bundle is not None and not settings.ca_bundle.is_file():
        raise SettingsError(f"store.s3.ca_bundle={settings.ca_bundle} is no file; mount it, or correct the path")
    try:
        session = boto3.session.Session(
            aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=settings.region
        )
        return session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=session.region_name or "us-east-1",
            verify=str(settings.ca_bundle) if settings.ca_bundle else None,
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(f"store.s3: no client can be made of these settings: {error}") from error


def credentials(settings: S3Settings) -> tuple[str | None, str | None]:
    """Access key id and secret key: of the files, else of the settings, else None for boto's own chain."""
    if settings.access_key_id_file is not None and settings.secret_access_key_file is not None:
        return _read("access_key_id_file", settings.access_key_id_file), _read(
            "secret_access_key_file", settings.secret_access_key_file
        )
    if settings.access_key_id is None or settings.secret_access_key is None:
        return None, None
    return settings.access_key_id.get_secret_value(), settings.secret_access_key.get_secret_value()


def _read(field: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"store.s3.{field}={path} cannot be read ({type(error).__name__}); mount or mend it"
        ) from None
