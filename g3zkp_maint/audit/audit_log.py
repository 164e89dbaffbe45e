"""The audit log of the API server: who ran commands in pods, and who read Secrets.

One JSON object a line, as kube-apiserver writes it (audit.k8s.io/v1, level Metadata suffices). What is no such line is
counted and left out. Reading keeps one number for each kind of call, however long the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.facts import Access, Facts
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.rights import is_one_of

_NEEDS = ("accesses",)
_COMMANDS = ("pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers")
#: A call is told in several stages; a command that still runs has come no further than the second.
_STAGES = ("ResponseComplete", "ResponseStarted", "Panic")
_NAMED = 5
#: More kinds of calls than these are not kept apart, but counted: a log may hold anything.
MOST = 10_000


@dataclass(slots=True)
class _Tally:
    names: dict[str, None] = field(default_factory=dict)
    addresses: dict[str, None] = field(default_factory=dict)
    calls: dict[str, bool] = field(default_factory=dict)  # by audit id: whether it was refused
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the log told; `unreadable` lines of `lines` were none of an audit log, `oldest` and `newest` are the times of
    the first and the last. `dropped` counts lines about calls that are of one kind too many."""

    accesses: tuple[Access, ...]
    lines: int
    unreadable: int
    oldest: datetime | None
    newest: datetime | None
    dropped: int


def read(lines: Iterable[bytes], *, since: datetime, namespaces: Iterable[str]) -> Reading:
    """Calls since then about Secrets of these namespaces, and commands in their pods."""
    wanted = set(namespaces)
    found: dict[tuple[str, str, str, str], _Tally] = {}
    count = unreadable = dropped = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    for line in lines:
        count += 1
        try:
            event = json.loads(line)
            at = datetime.fromisoformat(event["stageTimestamp"])
            key = _key(event, wanted)
        except (ValueError, KeyError, TypeError, AttributeError):
            unreadable += 1
            continue
        oldest, newest = min(oldest or at, at), max(newest or at, at)
        if key is None or at < since:
            continue
        if key not in found and len(found) >= MOST:
            dropped += 1
            continue
        _note(found.setdefault(key, _Tally()), event, at)
    told = tuple(_access(key, found[key]) for key in sorted(found))
    return Reading(told, count, unreadable, oldest, newest, dropped)


def _key(event: Any, namespaces: set[str]) -> tuple[str, str, str, str] | None:
    """Subject, verb, resource, namespace; None for what is nobody's concern here."""
    about = event.get("objectRef") or {}
    resource = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
    namespace = str(about.get("namespace") or "")
    # A list of all namespaces' Secrets has none in its reference.
    is_ours = namespace in namespaces or (resource == "secrets" and not namespace)
    if event["stage"] not in _STAGES or not is_ours or resource not in (*_COMMANDS, "secrets"):
        return None
    user = event["user"]["username"]
    acting = (event.get("impersonatedUser") or {}).get("username")
    return f"{user} as {acting}" if acting else str(user), str(event["verb"]), resource, namespace


def _note(tally: _Tally, event: Any, at: datetime) -> None:
    tally.calls[str(event["auditID"])] = (event.get("responseStatus") or {}).get("code") in (401, 403)
    for name in filter(None, [event["objectRef"].get("name")]):
        tally.names[str(name)] = None
    for address in event.get("sourceIPs") or ():
        tally.addresses[str(address)] = None
    tally.first = min(tally.first or at, at)
    tally.last = max(tally.last or at, at)


def _access(key: tuple[str, str, str, str], tally: _Tally) -> Access:
    subject, verb, resource, namespace = key
    assert tally.first is not None  # noqa: S101  a tally is made with its first call
    assert tally.last is not None  # noqa: S101
    return Access(
        subject=subject,
        verb=verb,
        resource=resource,
        namespace=namespace,
        names=tuple(tally.names)[:_NAMED],
        count=len(tally.calls),
        refused=sum(tally.calls.values()),
        first=tally.first,
        last=tally.last,
        addresses=tuple(tally.addresses)[:_NAMED],
    )


def _commands(facts: Facts) -> Iterator[Found]:
    expected = (*facts.limits.administrators, *facts.limits.commanders)
    return _unexpected(facts, expected, _COMMANDS)


def _secrets(facts: Facts) -> Iterator[Found]:
    expected = (*facts.limits.administrators, *facts.limits.readers)
    return _unexpected(facts, expected, ("secrets",))


def _unexpected(facts: Facts, expected: tuple[str, ...], resources: tuple[str, ...]) -> Iterator[Found]:
    for one in facts.accesses or ():
        if one.resource in resources and not is_one_of(one.subject, expected):
            worst = Severity.MEDIUM if one.refused == one.count else None
            yield Found(f"Access/{one.namespace or 'all'}/{one.resource}/{one.verb}:{one.subject}", _told(one), worst)


def _told(one: Access) -> str:
    refused = f", {one.refused} refused" if one.refused else ""
    names = f" of {', '.join(one.names)}" if one.names else ""
    origin = f" from {', '.join(one.addresses)}" if one.addresses else ""
    span = f"{one.first:%Y-%m-%d %H:%M}Z to {one.last:%Y-%m-%d %H:%M}Z"
    return f"{one.subject}: {one.verb} {one.resource}{names}, {one.count} times{refused}{origin}, {span}"


CHECKS: tuple[Check[Facts], ...] = (
    Check(
        Rule(
            "log-command",
            "Somebody unexpected ran a command in a pod",
            Severity.HIGH,
            "The audit log of the API server (`audit.log`): exec, attach, port-forward and debug containers in both "
            "namespaces. Expected are `audit.administrators` and `audit.commanders`. Medium where all were refused.",
            "A command in the messenger's pod reads every key and message.",
            "Find out who it was and what for; take the right away, or name the subject in audit.commanders.",
        ),
        _commands,
        _NEEDS,
    ),
    Check(
        Rule(
            "log-secret",
            "Somebody unexpected asked for Secrets",
            Severity.HIGH,
            "The audit log: every call about Secrets of both namespaces. Expected are `audit.administrators` and "
            "`audit.readers`. Medium where all were refused.",
            "What was read is known to whoever read it.",
            "Find out who it was; rotate what was read, take the right away, or name the subject in audit.readers.",
        ),
        _secrets,
        _NEEDS,
    ),
)
