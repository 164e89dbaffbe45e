"""Deleting from a bucket: many keys at once, and how many of them were there, which the server does not say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import Any

from g3zkp_maint.errors import ObjectMissing, StoreError, StoreUnavailable
from g3zkp_maint.stores import s3_errors
from g3zkp_maint.stores import s3_listing as listing
from g3zkp_maint.stores.s3_bucket import Bucket

#: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
AT_ONCE = 1_000
#: So many keys of one folder are looked for one by one; more, by one listing.
_FEW = 3


def present(bucket: Bucket, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that are there."""
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for key in keys:
        folders[key.rpartition("/")[0]].add(key)
    return [key for group in folders.values() for key in _present_in_folder(bucket, group)]


def _present_in_folder(bucket: Bucket, keys: set[str]) -> Iterator[str]:
    if len(keys) <= _FEW:
        yield from (key for key in keys if _is_there(bucket, key))
        return
    for page in listing.pages(bucket, _common_beginning(keys), Delimiter="/"):
        yield from keys & {item["Key"] for item in page.get("Contents", ())}


def _common_beginning(keys: set[str]) -> str:
    """What lies between the first and the last in order has it as well."""
    first, last = min(keys), max(keys)
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))


def _is_there(bucket: Bucket, key: str) -> bool:
    try:
        bucket.persistently(lambda: bucket.head(key))
    except ObjectMissing:
        return False
    return True


def delete(bucket: Bucket, keys: Iterable[str]) -> None:
    """Raises StoreError when the server keeps some, as those under a lock; the rest are gone."""
    rest = iter(keys)
    while batch := list(islice(rest, AT_ONCE)):
        _delete_persistently(bucket, batch)


def _delete_persistently(bucket: Bucket, keys: list[str]) -> None:
    bucket.persistently(lambda: _delete_batch(bucket, keys))


def _delete_batch(bucket: Bucket, keys: list[str]) -> None:
    name = bucket.settings.bucket
    objects: Any = {"Objects": [{"Key": key} for key in keys], "Quiet": False}
    with bucket.speaking() as client:
        if bucket.settings.checksum == "none":  # DeleteObjects needs a checksum, and such a server knows none
            for key in keys:
                client.delete_object(Bucket=name, Key=key)
            return
        answer = client.delete_objects(Bucket=name, Delete=objects)
        if len(answer.get("Deleted", ())) + len(answer.get("Errors", ())) != len(keys):
            raise KeyError("Deleted")
    errors = [(error.get("Key", ""), error.get("Code", "")) for error in answer.get("Errors", ())]
    if errors:
        raise _undeleted(bucket, errors)


def _undeleted(bucket: Bucket, errors: list[tuple[str, str]]) -> StoreError:
    key, code = errors[0]
    if code == "AccessDenied":
        return s3_errors.forbidden("DeleteObjects", place=bucket.place, key=key)
    text = f"{len(errors)} objects in {bucket.place} were not deleted, {key} among them ({code})"
    if code in {"InternalError", "SlowDown", "ServiceUnavailable"}:
        return StoreUnavailable(text)
    return StoreError(f"{text}; see to the cause, then run again")
