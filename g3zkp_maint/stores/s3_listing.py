"""What a bucket lists, page after page: objects, and uploads that were begun and not finished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from g3zkp_maint.stores.s3_bucket import Bucket

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import ListMultipartUploadsOutputTypeDef, ListObjectsV2OutputTypeDef


@dataclass(frozen=True, slots=True)
class Begun:
    """A multipart upload that is neither completed nor aborted."""

    key: str
    upload_id: str
    begun: datetime


def pages(bucket: Bucket, prefix: str, **more: Any) -> Iterator[ListObjectsV2OutputTypeDef]:
    """Objects whose key starts with `prefix`, in the server's order. Raises StoreUnavailable."""
    arguments: dict[str, Any] = {"Bucket": bucket.settings.bucket, "Prefix": prefix, **more}

    def ask() -> ListObjectsV2OutputTypeDef:
        with bucket.speaking() as client:
            answer = client.list_objects_v2(**arguments)
            _ = answer["IsTruncated"]  # else a cut answer would be an empty bucket
            return answer

    while True:
        page = bucket.persistently(ask)
        yield page
        if not page["IsTruncated"]:
            return
        arguments["ContinuationToken"] = page["NextContinuationToken"]


def uploads(bucket: Bucket, prefix: str) -> Iterator[Begun]:
    """Those of keys that start with `prefix`. Raises StoreUnavailable."""
    arguments: dict[str, Any] = {"Bucket": bucket.settings.bucket, "Prefix": prefix}

    def ask() -> ListMultipartUploadsOutputTypeDef:
        with bucket.speaking() as client:
            answer = client.list_multipart_uploads(**arguments)
            _ = answer["IsTruncated"]
            return answer

    while True:
        page = bucket.persistently(ask)
        for found in page.get("Uploads", ()):
            yield Begun(found["Key"], found["UploadId"], found["Initiated"])
        if not page["IsTruncated"]:
            return
        arguments |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
