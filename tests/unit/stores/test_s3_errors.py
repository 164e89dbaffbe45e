from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)

from g3zkp_maint.errors import ObjectExists, ObjectMissing, StoreError, StoreFull, StoreUnavailable, TemporaryError
from g3zkp_maint.stores.s3_errors import translated

PLACE = "the bucket b"


def answered(code: str, status: int, operation: str = "PutObject") -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": "echoes the AKIA-secret-string"},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        operation,
    )


@pytest.mark.parametrize(
    ("code", "status", "operation", "expected", "said"),
    [
        ("NoSuchKey", 404, "GetObject", ObjectMissing, "k is not in the bucket b"),
        ("404", 404, "HeadObject", ObjectMissing, "k is not in"),
        ("NoSuchUpload", 404, "UploadPart", ObjectMissing, "k"),
        ("NoSuchBucket", 404, "PutObject", StoreError, "the bucket b does not exist; create it"),
        ("PreconditionFailed", 412, "PutObject", ObjectExists, "never overwritten"),
        ("PreconditionFailed", 412, "CompleteMultipartUpload", ObjectExists, "never overwritten"),
        ("PreconditionFailed", 412, "GetObject", StoreError, "replaced while it was read"),
        ("ConditionalRequestConflict", 409, "PutObject", StoreUnavailable, "ConditionalRequestConflict"),
        ("InternalError", 500, "PutObject", StoreUnavailable, "HTTP 500"),
        ("SlowDown", 503, "PutObject", StoreUnavailable, "SlowDown"),
        ("TooManyRequests", 429, "PutObject", StoreUnavailable, "HTTP 429"),
        ("BadDigest", 400, "PutObject", StoreUnavailable, "BadDigest"),
        ("RequestTimeout", 400, "PutObject", StoreUnavailable, "RequestTimeout"),
        ("InsufficientStorage", 507, "PutObject", StoreFull, "no room"),
        ("QuotaExceeded", 403, "PutObject", StoreFull, "no room"),
        ("XMinioStorageFull", 507, "PutObject", StoreFull, "no room"),
        ("AccessDenied", 403, "UploadPart", StoreError, "may not s3:PutObject on the bucket b, at k"),
        ("AccessDenied", 403, "ListMultipartUploads", StoreError, "may not s3:ListBucketMultipartUploads"),
        ("403", 403, "HeadObject", StoreError, "may not s3:GetObject"),
        ("SignatureDoesNotMatch", 403, "PutObject", StoreError, "does not accept the credentials"),
        ("ExpiredToken", 400, "PutObject", StoreError, "expired"),
        ("RequestTimeTooSkewed", 403, "PutObject", StoreError, "clock"),
        ("PermanentRedirect", 301, "PutObject", StoreError, r"store\.s3\.region"),
        ("NotImplemented", 501, "PutObject", StoreError, r"store\.s3\.checksum"),
    ],
)
def test_answers_become_our_errors(
    code: str, status: int, operation: str, expected: type[StoreError], said: str
) -> None:
    found = translated(answered(code, status, operation), place=PLACE, key="k")
    assert type(found) is expected
    with pytest.raises(StoreError, match=said):
        raise found
    assert "secret" not in str(found)
    assert isinstance(found, TemporaryError) == (expected is StoreUnavailable)


@pytest.mark.parametrize(
    ("error", "expected", "said"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), StoreUnavailable, "cannot be reached"),
        (ReadTimeoutError(endpoint_url="http://x"), StoreUnavailable, "ReadTimeoutError"),
        (NoCredentialsError(), StoreError, r"store\.s3\.access_key_id_file"),
        (SSLError(endpoint_url="https://x", error="bad"), StoreError, r"store\.s3\.ca_bundle"),
        (ParamValidationError(report="Invalid bucket name"), StoreError, "Invalid bucket name"),
    ],
)
def test_failures_to_ask_become_our_errors(error: Exception, expected: type[StoreError], said: str) -> None:
    found = translated(error, place=PLACE, key="k")  # type: ignore[arg-type]
    assert type(found) is expected
    with pytest.raises(StoreError, match=said):
        raise found
