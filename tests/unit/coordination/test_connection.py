from __future__ import annotations

import pytest
import redis

from g3zkp_maint.coordination.connection import connect, location, reaching
from g3zkp_maint.errors import CoordinationUnavailable, SettingsError


@pytest.mark.parametrize(
    "url", ["http://u:hunter2@host", "redis://u:hunter2#x@host:1", "redis://:p@host:hunter2/0", "hunter2"]
)
def test_a_wrong_url_is_refused_without_showing_it(url):
    with pytest.raises(SettingsError) as caught:
        connect(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_location_shows_where_and_never_the_password():
    client = connect("redis://user:hunter2@redis.example:6380/3")
    assert location(client) == "redis.example:6380/3"
    assert "hunter2" not in repr(client)


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("Error 111"),
        redis.TimeoutError("Timeout"),
        redis.BusyLoadingError("loading"),
        redis.ReadOnlyError("read only"),
        redis.OutOfMemoryError("command not allowed"),
        redis.ResponseError("MISCONF Valkey is configured to save RDB snapshots, but cannot"),
    ],
)
def test_what_passes_by_itself_is_coordination_unavailable(error):
    client = connect("redis://:hunter2@127.0.0.1:1/0")
    with (
        pytest.raises(CoordinationUnavailable, match=r"cannot take a lease: Redis at 127\.0\.0\.1:1/0") as caught,
        reaching(client, "take a lease"),
    ):
        raise error
    assert caught.value.__cause__ is error


def test_refused_credentials_are_a_matter_of_settings():
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(SettingsError, match=r"redis\.url"), reaching(client, "take a lease"):
        raise redis.AuthenticationError("WRONGPASS")


def test_a_fault_of_this_program_passes_through():
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"), reaching(client, "take a lease"):
        raise redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


def test_a_server_that_is_not_there_is_coordination_unavailable_within_seconds():
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(CoordinationUnavailable, match="is not reached"), reaching(client, "ask"):
        client.ping()
