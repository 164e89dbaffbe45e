"""What goes to servers that no test can start: AWS's own encryption by KMS, and a bucket's name in the host name."""

from __future__ import annotations

import io
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.stub import ANY, Stubber
from urllib3.response import HTTPResponse

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.settings import S3Store as S3Settings
from g3zkp_maint.stores.s3 import S3Store

PART = 5 << 20
KEY_ID = "arn:aws:kms:eu-central-1:111122223333:key/one"


def made(**fields: object) -> S3Store:
    given = {"bucket": "a-bucket", "access_key_id": "id", "secret_access_key": "secret", "parts_in_flight": 1}
    return S3Store(S3Settings.model_validate({**given, **fields}), clock=SystemClock())


@pytest.mark.parametrize("key_id", [None, KEY_ID])
@pytest.mark.parametrize("size", [7, PART + 1])
def test_each_object_is_encrypted_by_kms_with_the_key_that_the_settings_name(key_id: str | None, size: int) -> None:
    store = made(sse="aws:kms", sse_kms_key_id=key_id, part_bytes=PART)
    sse = {"ServerSideEncryption": "aws:kms", **({"SSEKMSKeyId": key_id} if key_id else {})}
    target = {"Bucket": "a-bucket", "Key": "a/key"}
    with Stubber(store._bucket.client) as server:
        if size <= PART:
            server.add_response(
                "put_object", {"ETag": '"e"'}, {**target, **sse, "Body": ANY, "Metadata": ANY, "ChecksumCRC32": ANY}
            )
        else:
            begun = {**target, **sse, "Metadata": ANY, "ChecksumAlgorithm": "CRC32"}
            server.add_response("create_multipart_upload", {"UploadId": "u"}, begun)
            for _ in range(2):
                server.add_response("upload_part", {"ETag": '"e"'})
            server.add_response("complete_multipart_upload", {})
        assert store.put("a/key", [bytes(size)]).size == size
        server.assert_no_pending_responses()


NAMED = "https://s3.example.org"


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"endpoint_url": NAMED}, "https://s3.example.org/a-bucket/a/key"),
        ({"endpoint_url": NAMED, "path_style": True}, "https://s3.example.org/a-bucket/a/key"),
        ({"endpoint_url": NAMED, "path_style": False}, "https://a-bucket.s3.example.org/a/key"),
        ({"region": "eu-central-1"}, "https://a-bucket.s3.eu-central-1.amazonaws.com/a/key"),
        ({"region": "eu-central-1", "path_style": True}, "https://s3.eu-central-1.amazonaws.com/a-bucket/a/key"),
    ],
    ids=str,
)
def test_the_bucket_is_named_in_the_host_name_or_in_the_path_as_the_settings_say(
    fields: dict[str, object], url: str
) -> None:
    store = made(**fields)
    asked: list[Any] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        asked.append(request.url)
        now = "Thu, 26 Nov 2026 02:00:00 GMT"
        headers = {"Date": now, "Last-Modified": now, "ETag": '"e"', "Content-Length": "7"}
        return AWSResponse(request.url, 200, headers, HTTPResponse(io.BytesIO(), preload_content=False))

    store._bucket.client.meta.events.register("before-send.s3", answer)
    assert store.head("a/key").size == 7
    assert asked == [url]
