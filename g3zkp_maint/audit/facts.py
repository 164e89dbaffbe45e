"""What the security scan's checks look at, as it was at one moment. Frozen; gathered in gathering.py, by ports.

A part that is None was not looked at, and `unseen` says why: it is told in every report, never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unseen:
    """Something that was not looked at. `part` is that of the facts; `why` one line. `is_meant`: by the settings or by
    the kind of platform, so nobody has to do anything about it."""

    part: str
    what: str
    why: str
    is_meant: bool


@dataclass(frozen=True, slots=True)
class KeyFile:
    """An entry of the messenger's folder of private keys. `kind` is file, folder, link or other; `mode` has the
    permission bits alone."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """The folder, its entries below it by relative path (itself is `.`), and as whom the messenger runs. `is_whole`
    False: it has more than were listed."""

    path: str
    messenger_uid: int
    entries: tuple[KeyFile, ...]
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class RedisServer:
    """`name` is whose it is; `addresses` are the IP addresses by which it is reached from here; `binds` those that it
    listens on, () where it does not tell."""

    name: str
    address: str
    addresses: tuple[str, ...]
    answers_without_password: bool
    binds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyAge:
    """When the messenger's key of this type was rotated last, None where `problem` says why that is not known."""

    type: str
    rotated_at: datetime | None
    every: timedelta
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Backups:
    """What the store tells. Times are None for never. `newest` is the newest backup that can be believed and is whole,
    `to_nobody` are backups that name no key which opens them, `open_archives` archives that are not encrypted: of the
    newest backup, in the audit of every one. `invalid` counts newer manifests that must not be believed."""

    newest: str | None
    newest_at: datetime | None
    to_nobody: tuple[str, ...]
    open_archives: tuple[str, ...]
    invalid: int
    is_partial: bool
    drilled_at: datetime | None
    drill_passed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Access:
    """Calls of one subject, of one sort, in the audit log of the API server. `resource` has its subresource
    (`pods/exec`); `names` are of the objects, the first few; `refused` of the `count` calls were not allowed."""

    subject: str
    verb: str
    resource: str
    namespace: str
    names: tuple[str, ...]
    count: int
    refused: int
    first: datetime
    last: datetime
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as late, and who is expected to have rights; patterns as in a shell, for names of subjects as the API
    server writes them (`system:serviceaccount:NAMESPACE:NAME`, a user's name, `group:NAME`)."""

    backup_age: timedelta = timedelta(hours=36)
    drill_age: timedelta = timedelta(days=14)
    key_grace: timedelta = timedelta(days=8)
    administrators: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    commanders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """`namespaces`: the messenger's first, then that of the fleets. `objects` has no Secret. `accesses` are those of
    Secrets and of commands in pods."""

    at: datetime
    namespaces: tuple[str, ...]
    keys_secret: str = "g3zkp-keys"  # noqa: S105  a name
    limits: Limits = field(default_factory=Limits)
    objects: tuple[Object, ...] | None = None
    files: KeyFolder | None = None
    redis: tuple[RedisServer, ...] | None = None
    keys: tuple[KeyAge, ...] | None = None
    backups: Backups | None = None
    accesses: tuple[Access, ...] | None = None
    unseen: tuple[Unseen, ...] = ()

    def why_unseen(self, part: str) -> str:
        """On one line; "" where that part was looked at."""
        return "; ".join(one.why for one in self.unseen if one.part == part and getattr(self, part) is None)
