"""How open a Redis server is: whether it answers without credentials, where it is, what it listens on."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import redis
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, ResponseError

from g3zkp_maint.coordination.connection import connect, location, reaching
from g3zkp_maint.errors import CoordinationUnavailable, SettingsError

_CREDENTIALS = ("username", "password", "credential_provider")
#: What protected mode says to whoever comes from elsewhere: it is no answer.
_PROTECTED = "DENIED"


@dataclass(frozen=True, slots=True)
class Exposure:
    """`address` is host and port, or the socket's path; `addresses` the IP addresses that are meant, none for a socket;
    `binds` what it listens on, () where it does not tell."""

    address: str
    addresses: tuple[str, ...]
    answers_without_password: bool
    binds: tuple[str, ...]


def exposure(url: str) -> Exposure:
    """Of the server at `url`; its credentials are used for what it listens on alone. Raises CoordinationUnavailable,
    SettingsError."""
    client = connect(url, retries=0)
    try:
        return Exposure(
            address=location(client).rpartition("/")[0],
            addresses=_addresses(client),
            answers_without_password=_is_open(client, url),
            binds=_binds(client),
        )
    finally:
        client.close()


def _is_open(client: redis.Redis, url: str) -> bool:
    stranger = connect(url, retries=0)
    for name in _CREDENTIALS:
        stranger.connection_pool.connection_kwargs.pop(name, None)
    try:
        with reaching(client, "see whether it answers without a password"):
            return _answers(stranger)
    finally:
        stranger.close()


def _answers(stranger: redis.Redis) -> bool:
    try:
        return bool(stranger.ping())
    except (AuthenticationError, AuthorizationError, NoPermissionError):
        return False
    except ResponseError as error:
        if str(error).startswith(_PROTECTED):
            return False
        raise


def _binds(client: redis.Redis) -> tuple[str, ...]:
    """Few may ask that, and whoever has no password may not."""
    try:
        with reaching(client, "ask what it listens on"):
            told = client.config_get("bind")
    except (ResponseError, SettingsError):
        return ()
    return tuple(str(told.get("bind", "")).split())


def _addresses(client: redis.Redis) -> tuple[str, ...]:
    known = client.connection_pool.connection_kwargs
    if known.get("path"):
        return ()
    try:
        found = socket.getaddrinfo(known.get("host", "localhost"), None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CoordinationUnavailable(
            f"Redis at {location(client)} has no address: {error}; is its name right?"
        ) from error
    # A link-local address comes with its interface.
    return tuple(sorted({str(one[4][0]).partition("%")[0] for one in found}))
