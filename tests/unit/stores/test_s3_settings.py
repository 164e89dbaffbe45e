from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.settings import S3Store
from g3zkp_maint.stores.s3_bucket import Bucket, credentials


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"endpoint_url": "s3.example.org"}, "must start with http:// or https://"),
        ({"endpoint_url": "https://user:pw@s3.example.org"}, "hold no credentials"),
        ({"access_key_id": "x"}, "access_key_id and secret_access_key go together"),
        ({"secret_access_key_file": "/x"}, "access_key_id_file and secret_access_key_file go together"),
        ({"lock_mode": "GOVERNANCE"}, "lock_mode and lock_days go together"),
        ({"lock_days": 3}, "lock_mode and lock_days go together"),
        ({"sse_kms_key_id": "x"}, "sse_kms_key_id goes with sse='aws:kms'"),
        ({"part_bytes": 1 << 20}, "part_bytes"),
        ({"parts_in_flight": 0}, "parts_in_flight"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        S3Store.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"completion": "claim"}, False),
        ({"endpoint_url": "https://s3.example.org"}, False),
        ({"endpoint_url": "https://s3.example.org", "completion": "server"}, True),
    ],
)
def test_only_aws_is_trusted_with_completions_unless_the_settings_say_so(
    fields: dict[str, object], expected: bool
) -> None:
    assert S3Store.model_validate(fields).completes_exclusively() is expected


def test_credentials_come_from_files_before_settings_before_botos_own_chain(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("file-id\n")
    (tmp_path / "secret").write_text("file-secret\n")
    given = {"access_key_id": "id", "secret_access_key": "secret"}
    files = {"access_key_id_file": tmp_path / "id", "secret_access_key_file": tmp_path / "secret"}
    assert credentials(S3Store()) == (None, None)
    assert credentials(S3Store.model_validate(given)) == ("id", "secret")
    assert credentials(S3Store.model_validate({**given, **files})) == ("file-id", "file-secret")


def test_the_server_is_that_of_the_settings_whatever_variables_and_profiles_of_aws_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[default]\nendpoint_url = http://127.0.0.1:2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    given = {"access_key_id": "id", "secret_access_key": "secret", "region": "eu-central-1"}
    ours = S3Store.model_validate({**given, "endpoint_url": "http://127.0.0.1:3"})
    assert Bucket(ours, clock=SystemClock()).client.meta.endpoint_url == "http://127.0.0.1:3"
    aws = Bucket(S3Store.model_validate(given), clock=SystemClock()).client.meta.endpoint_url
    assert aws == "https://s3.eu-central-1.amazonaws.com"
