"""The Redis servers: the messenger's, and the broker of the fleets."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.facts import Facts
from g3zkp_maint.audit.finding import Severity

_NEEDS = ("redis",)
_EVERYWHERE = frozenset({"*", "0.0.0.0", "::", "-::*", "::*"})  # noqa: S104  looked for, not listened on


def _open(facts: Facts) -> Iterator[Found]:
    for one in facts.redis or ():
        if one.answers_without_password:
            yield Found(f"Redis/{one.name}", f"answers PING at {one.address} without a password")


def _public(facts: Facts) -> Iterator[Found]:
    for one in facts.redis or ():
        public = [text for text in one.addresses if ip_address(text).is_global]
        if public:
            yield Found(f"Redis/{one.name}", f"is reached at the public address {', '.join(public)}")
        elif _is_here(one.addresses) and _EVERYWHERE & set(one.binds):
            # In a pod that is how it must be; on a machine it is open to all of that machine's networks.
            yield Found(
                f"Redis/{one.name}", f"listens on {' '.join(one.binds)}, all of this machine's", Severity.MEDIUM
            )


def _is_here(addresses: tuple[str, ...]) -> bool:
    return bool(addresses) and all(ip_address(text).is_loopback for text in addresses)


CHECKS: tuple[Check[Facts], ...] = (
    Check(
        Rule(
            "redis-no-password",
            "Redis answers without a password",
            Severity.CRITICAL,
            "Each instance of the messenger's Redis, and the broker: PING without credentials.",
            "Whoever reaches it reads all sessions, or enqueues tasks of the maintenance.",
            "Set requirepass, or an ACL without a default user, and give the password to those who connect.",
        ),
        _open,
        _NEEDS,
    ),
    Check(
        Rule(
            "redis-public",
            "Redis is at a public address",
            Severity.HIGH,
            "As redis-no-password: the addresses by which it is reached, and on this machine those that it listens on.",
            "One guessed or leaked password is then enough, from anywhere.",
            "Bind it to an inner address; in a cluster make its Service a ClusterIP.",
        ),
        _public,
        _NEEDS,
    ),
)
