"""The right to complete an upload, where the server does not decide itself who is first.

`CompleteMultipartUpload` with If-None-Match is atomic at AWS. SeaweedFS 4 looks, and then completes: of eight at once
several win. A PutObject with If-None-Match is atomic there as well, so a writer first puts a claim (`.claim-NAME` beside
the key, which no listing shows), completes, and takes the claim away.

A writer killed in between leaves its claim. One that finds a claim of two minutes or more (by the server's clock) whose
object is not there aborts the upload that the claim names, so that its writer, should it live, can complete no more,
and puts its own in place by If-Match. `sweep` removes claims that nobody came for.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog

from g3zkp_maint.errors import ObjectExists, ObjectMissing, StoreError, StoreUnavailable
from g3zkp_maint.stores.s3_bucket import Bucket, date_of, etag_of

_log = structlog.get_logger(__name__)

_MARK = ".claim-"
STALE = timedelta(minutes=2)
_WAIT_SECONDS = 0.25
_WAITS = 1200


class Undecided(StoreUnavailable):
    """Raised when nobody knows whether an upload was completed."""


@dataclass(frozen=True)
class _Found:
    """Another's claim. `age` by the server's clock alone."""

    etag: str
    upload_id: str
    age: timedelta


@dataclass(frozen=True)
class Claim:
    """Of `upload_id` on `key`. `stale` is the age at which another's claim counts as a dead writer's."""

    bucket: Bucket
    key: str
    upload_id: str
    stale: timedelta = STALE

    @property
    def _claim_key(self) -> str:
        folder, slash, name = self.key.rpartition("/")
        return f"{folder}{slash}{_MARK}{name}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raises ObjectExists when the key is taken, StoreUnavailable after five minutes behind others.

        When the block ends with Undecided, or is broken off (a time limit, Ctrl-C), the server may still be completing:
        then the claim stays, and holds the others back until it is stale.
        """
        self._acquire()
        try:
            yield
        except Undecided:
            raise
        except StoreError:
            self._release()
            raise
        self._release()

    def _acquire(self) -> None:
        pause = threading.Event()
        for _ in range(_WAITS):
            if self._put():
                return
            self._refuse_taken()
            found = self._find()
            if found is not None and found.age >= self.stale and self._take_over(found):
                return
            if found is not None:
                pause.wait(_WAIT_SECONDS)
        raise StoreUnavailable(
            f"another writer has been completing {self.key} in {self.bucket.place} for five minutes; run again later"
        )

    def _put(self, **condition: str) -> bool:
        body = self.upload_id.encode()
        digest = hashlib.sha256(body).hexdigest()
        try:
            self.bucket.put_whole(self._claim_key, body, digest=digest, if_absent=not condition, **condition)
        except ObjectExists:
            return False
        return True

    def _refuse_taken(self) -> None:
        try:
            self.bucket.persistently(lambda: self.bucket.head(self.key))
        except ObjectMissing:
            return
        raise ObjectExists(f"{self.key} is in {self.bucket.place} already; objects are never overwritten")

    def _find(self) -> _Found | None:
        try:
            return self.bucket.persistently(self._read)
        except ObjectMissing:
            return None

    def _read(self) -> _Found:
        with self.bucket.speaking(self._claim_key) as client:
            answer = client.get_object(Bucket=self.bucket.settings.bucket, Key=self._claim_key)
            upload_id = answer["Body"].read().decode()
            return _Found(etag_of(answer), upload_id, date_of(answer) - answer["LastModified"])

    def _take_over(self, found: _Found) -> bool:
        _log.warning("store_claim_taken_over", key=self.key, age_seconds=found.age.total_seconds())
        abort(self.bucket, self.key, found.upload_id)
        self._refuse_taken()
        return self._put(IfMatch=found.etag)

    def _release(self) -> None:
        """Takes the claim away if it is still this one. A failure leaves it to be taken over, or swept."""
        try:
            found = self._find()
            if found is not None and found.upload_id == self.upload_id:
                self.bucket.persistently(lambda: self._delete(found.etag))
        except ObjectMissing:
            return
        except StoreError as error:
            _log.warning("store_claim_left_behind", key=self.key, error=str(error))

    def _delete(self, etag: str) -> None:
        with self.bucket.speaking(self._claim_key) as client:
            client.delete_object(Bucket=self.bucket.settings.bucket, Key=self._claim_key, IfMatch=etag)


def is_claim(key: str) -> bool:
    """Whether an object of that key is a claim."""
    return key.rpartition("/")[2].startswith(_MARK)


def abort(bucket: Bucket, key: str, upload_id: str) -> None:
    """Gives up a multipart upload and its parts; one that is gone is no error."""

    def call() -> None:
        with bucket.speaking(key) as client:
            client.abort_multipart_upload(Bucket=bucket.settings.bucket, Key=key, UploadId=upload_id)

    try:
        bucket.persistently(call)
    except ObjectMissing:
        return
