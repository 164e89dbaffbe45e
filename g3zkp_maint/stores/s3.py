"""A bucket as a store: any server that speaks S3 and has conditional writes.

An object is visible when it is whole, because S3 makes it so: one PutObject, or a multipart upload's completion.
`put(if_absent=True)` is decided by the server (If-None-Match), for parts by s3_claim where that is not enough; a server
that ignores the condition is found out at the first such `put`, and refused. In a versioned bucket, and so in one with
Object Lock, `delete` sets delete markers: a lifecycle rule removes what lies under them when its lock ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from g3zkp_maint.clock import Clock
from g3zkp_maint.settings import S3Store as S3Settings
from g3zkp_maint.stores import s3_deletion as deletion
from g3zkp_maint.stores import s3_listing as listing
from g3zkp_maint.stores.base import Chunk, ObjectInfo, Stored
from g3zkp_maint.stores.key import checked_key, checked_prefix, is_key
from g3zkp_maint.stores.s3_bucket import DIGEST, Bucket
from g3zkp_maint.stores.s3_claim import abort, is_claim
from g3zkp_maint.stores.s3_reading import Reading
from g3zkp_maint.stores.s3_upload import Upload


class S3Store:
    """Objects are those of `settings.bucket`. `swept_prefix` is where `sweep` looks: others may use the bucket too."""

    def __init__(self, settings: S3Settings, *, clock: Clock, swept_prefix: str = "") -> None:
        self._bucket = Bucket(settings, clock=clock)
        self._swept_prefix = f"{swept_prefix}/" if swept_prefix else ""

    def put(self, key: str, chunks: Iterable[Chunk], *, if_absent: bool = False) -> Stored:
        """See Store.put. Raises StoreError for a server without conditional writes."""
        return Upload(self._bucket, checked_key(key), if_absent).run(chunks)

    def get(self, key: str, range: tuple[int, int] | None = None) -> Iterator[bytes]:
        """See Store.get. A cut is mended by asking for the rest; an object replaced meanwhile raises StoreError."""
        return iter(Reading(self._bucket, checked_key(key), range))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Store.list. Sorted here: not every server's order is that of the keys (SeaweedFS walks folders)."""
        found = [
            ObjectInfo(item["Key"], item["Size"], item["LastModified"])
            for page in listing.pages(self._bucket, checked_prefix(prefix))
            for item in page.get("Contents", ())
            if is_key(item["Key"])
        ]
        yield from sorted(found, key=lambda info: info.key)

    def delete(self, keys: Iterable[str]) -> int:
        """See Store.delete. Raises StoreError when the server keeps some, as those under a lock; the rest are gone."""
        rest = iter(keys)
        count = 0
        while batch := {checked_key(key) for key in islice(rest, deletion.AT_ONCE)}:
            present = deletion.present(self._bucket, batch)
            deletion.delete(self._bucket, present)
            count += len(present)
        return count

    def head(self, key: str) -> ObjectInfo:
        """See Store.head. The digest is what the writer noted; of an object put by parts there is none (None): metadata
        is written before the parts, when the digest of the whole is not known yet."""
        found = self._bucket.persistently(lambda: self._bucket.head(checked_key(key)))
        return ObjectInfo(key, found["ContentLength"], found["LastModified"], found["Metadata"].get(DIGEST))

    def sweep(self, older_than: datetime) -> int:
        """Aborts multipart uploads begun before `older_than` and removes claims of that age; counts both."""
        uploads = [found for found in listing.uploads(self._bucket, self._swept_prefix) if found.begun < older_than]
        for upload in uploads:
            abort(self._bucket, upload.key, upload.upload_id)
        claims = [
            item["Key"]
            for page in listing.pages(self._bucket, self._swept_prefix)
            for item in page.get("Contents", ())
            if is_claim(item["Key"]) and item["LastModified"] < older_than
        ]
        deletion.delete(self._bucket, claims)
        return len(uploads) + len(claims)
