"""How open a real server is: with a password, without one, by an ACL; and one that is away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from g3zkp_maint.coordination.exposure import exposure
from g3zkp_maint.errors import CoordinationUnavailable, SettingsError

pytestmark = pytest.mark.integration


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    found = redis.Redis.from_url(redis_url, decode_responses=True)
    found.execute_command("ACL", "SETUSER", "mends", "on", ">mends", "+acl")
    yield found
    mender = redis.Redis.from_url(with_password(redis_url, "mends", user="mends"))
    mender.execute_command("ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all")
    mender.execute_command("ACL", "DELUSER", "mends", "maint")
    for one in (found, mender):
        one.close()


def with_password(url: str, password: str, user: str = "") -> str:
    return url.replace("redis://", f"redis://{user}:{password}@")


def test_a_server_without_a_password_answers_and_tells_where_it_listens(client: redis.Redis, redis_url: str) -> None:
    found = exposure(redis_url)
    assert found.answers_without_password
    assert found.addresses == ("127.0.0.1",) or "127.0.0.1" in found.addresses
    assert found.binds == tuple(client.config_get("bind")["bind"].split())
    assert found.address in redis_url


def test_a_server_with_a_password_does_not_and_the_password_is_not_used_for_that(
    client: redis.Redis, redis_url: str
) -> None:
    client.execute_command("ACL", "SETUSER", "default", "resetpass", ">a-password")
    found = exposure(with_password(redis_url, "a-password"))
    assert not found.answers_without_password
    assert found.binds
    # Whoever does not know the password learns as much, but for where it listens.
    assert exposure(redis_url).binds == ()
    assert not exposure(redis_url).answers_without_password


def test_a_default_user_that_is_off_or_may_nothing_is_no_open_door(client: redis.Redis, redis_url: str) -> None:
    client.execute_command("ACL", "SETUSER", "maint", "on", ">a-password", "~*", "&*", "+@all", "-config")
    client.execute_command("ACL", "SETUSER", "default", "nopass", "-@all")
    found = exposure(with_password(redis_url, "a-password", user="maint"))
    assert (found.answers_without_password, found.binds) == (False, ())


def test_a_server_that_is_away_is_no_closed_one() -> None:
    with pytest.raises(CoordinationUnavailable):
        exposure("redis://127.0.0.1:1/0")
    with pytest.raises(CoordinationUnavailable, match="no address"):
        exposure("redis://no-such-host.invalid/0")
    with pytest.raises(SettingsError):
        exposure("nonsense")
