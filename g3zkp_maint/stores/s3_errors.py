"""What S3 servers and botocore say, in the words of the product.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and those of MinIO, Ceph and SeaweedFS where
they differ. No message carries what the server sent beyond its code: some echo the signed request back.
"""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
)

from g3zkp_maint.errors import ObjectExists, ObjectMissing, StoreError, StoreFull, StoreUnavailable

_MISSING = {"NoSuchKey", "NoSuchUpload", "404", "NotFound"}
_FULL = {
    "QuotaExceeded",
    "InsufficientStorage",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "EntityTooLarge",
}
_NO_BUCKET = "does not exist; create it, or set store.s3.bucket and endpoint_url to one that does"
_NOT_ACCEPTED = "does not accept the credentials or their signature; check keys and region"
_ELSEWHERE = "is in another region; set store.s3.region to the bucket's"
#: What is to be done about the bucket, whatever the request was.
_ADVICE = {
    "NoSuchBucket": _NO_BUCKET,
    "InvalidAccessKeyId": _NOT_ACCEPTED,
    "SignatureDoesNotMatch": _NOT_ACCEPTED,
    "ExpiredToken": "says that the credentials have expired; renew them",
    "InvalidToken": _NOT_ACCEPTED,
    "TokenRefreshRequired": "says that the credentials have expired; renew them",
    "AuthorizationHeaderMalformed": _NOT_ACCEPTED,
    "RequestTimeTooSkewed": "says that this machine's clock is wrong; synchronise it",
    "PermanentRedirect": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
}
#: What may pass although its status does not say so: damaged on the way, or two writers at once.
_PASSING = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "IncompleteBody",
    "RequestTimeout",
    "SlowDown",
    "OperationAborted",
    "ConditionalRequestConflict",
}
#: What a policy must allow for each request.
_ACTIONS = {
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
}


def translated(error: BotoCoreError | ClientError, *, place: str, key: str) -> StoreError:
    """`place` names bucket and server, `key` the object ("" for the bucket itself)."""
    what = f"{key} in {place}" if key else place
    if isinstance(error, ClientError):
        return _answered(error, place=place, key=key, what=what)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreError(
            f"there are no complete credentials for {place}; set store.s3.access_key_id_file and "
            "secret_access_key_file, or use AWS's own variables, profile or role"
        )
    if isinstance(error, SSLError):
        return StoreError(f"the certificate of {place} is not trusted; set store.s3.ca_bundle to its authority's file")
    if isinstance(error, ParamValidationError):
        return StoreError(f"the request for {what} was not even sent: {error}; check the store.s3 settings")
    return StoreUnavailable(
        f"{place} cannot be reached or broke off ({type(error).__name__}), at {key or 'the bucket'}"
    )


def code_of(error: ClientError) -> str:
    """The server's word for it, or the HTTP status where there is none."""
    return str(error.response.get("Error", {}).get("Code") or _status(error))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answered(error: ClientError, *, place: str, key: str, what: str) -> StoreError:
    code, status, operation = code_of(error), _status(error), error.operation_name
    if code in _MISSING and key:
        return ObjectMissing(f"{key} is not in {place}")
    if code in {"PreconditionFailed", "412"}:
        return _unmet(operation, what)
    if status == 507 or code in _FULL:
        return StoreFull(f"no room for {what} ({code}); free or add space or raise the quota, then run again")
    if code in _ADVICE:
        return StoreError(f"{place} {_ADVICE[code]} ({code})")
    return _other(code, status, operation, place=place, key=key)


def _other(code: str, status: int, operation: str, *, place: str, key: str) -> StoreError:
    if status in {401, 403}:
        return forbidden(operation, place=place, key=key)
    if code in _PASSING or status == 429 or (status >= 500 and status != 501):
        return StoreUnavailable(f"{operation} of {key or 'the bucket'} failed in {place}: {code} (HTTP {status})")
    return StoreError(
        f"{place} refused {operation} of {key or 'the bucket'}: {code} (HTTP {status}); if the server lacks a feature, "
        "see store.s3.checksum, sse and lock_mode"
    )


def _unmet(operation: str, what: str) -> StoreError:
    if operation in {"PutObject", "CompleteMultipartUpload"}:
        return ObjectExists(f"{what} is there already; objects are never overwritten")
    if operation == "DeleteObject":
        return ObjectMissing(f"{what} is gone or another's; it was not deleted")
    return StoreError(f"{what} was replaced while it was read; read it again")


def no_bucket(place: str) -> StoreError:
    """The bucket itself is missing."""
    return StoreError(f"{place} {_NO_BUCKET}")


def forbidden(operation: str, *, place: str, key: str) -> StoreError:
    """A policy stands against it."""
    action = _ACTIONS.get(operation, operation)
    return StoreError(
        f"the credentials may not {action} on {place}{f', at {key}' if key else ''}; grant this action to them, or use others"
    )
