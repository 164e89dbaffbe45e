"""For each check something deliberately bad and something good: manifests in `manifests/`, and facts that are no manifest."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from g3zkp_maint.audit.facts import Access, Backups, Facts, KeyAge, KeyFile, KeyFolder, Limits, RedisServer, Unseen
from g3zkp_maint.settings import Audit

MANIFESTS = Path(__file__).parent / "manifests"
NOW = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
DAY = timedelta(days=1)
_DEFAULTS = Audit()
LIMITS = Limits(administrators=_DEFAULTS.administrators, readers=_DEFAULTS.readers, commanders=_DEFAULTS.commanders)
_BAD = re.compile(r"\bbad-[a-z0-9-]+")


def facts(**parts: Any) -> Facts:
    return Facts(NOW, ("g3zkp", "g3zkp-maint"), limits=LIMITS, **parts)


def manifests(check: str) -> list[dict[str, Any]]:
    """As an inspection lists them: each with its namespace."""
    found = list(yaml.safe_load_all((MANIFESTS / f"{check}.yaml").read_text()))
    for one in found:
        if not one["kind"].startswith("Cluster"):
            one["metadata"].setdefault("namespace", "g3zkp")
    return found


def bad_names(check: str) -> set[str]:
    """What in the check's file is deliberately bad, by name."""
    names = {str(one["metadata"]["name"]) for one in manifests(check)}
    names |= {str(subject["name"]) for one in manifests(check) for subject in one.get("subjects", ())}
    return {name for name in names if _BAD.fullmatch(name)}


def named_bad(objects: Iterable[str]) -> set[str]:
    """Which names of bad things are in the objects of findings."""
    return {name for one in objects for name in _BAD.findall(one)}


def folder(*entries: KeyFile, uid: int = 1001) -> Facts:
    return facts(files=KeyFolder("/data/keys", uid, entries))


def entry(path: str = "identity-1.json", kind: str = "file", mode: int = 0o600, uid: int = 1001) -> KeyFile:
    return KeyFile(path, kind, mode, uid, uid)


def server(*, is_open: bool = False, at: str = "10.0.0.7", binds: tuple[str, ...] = ()) -> Facts:
    return facts(redis=(RedisServer("broker", f"{at}:6379", (at,), is_open, binds),))


def key(age: timedelta | None, problem: str = "") -> Facts:
    return facts(keys=(KeyAge("signing", NOW - age if age else None, DAY, problem),))


_WELL = Backups(
    newest="g3zkp_full_20260301_020000",
    newest_at=NOW - DAY,
    to_nobody=(),
    open_archives=(),
    invalid=0,
    is_partial=False,
    drilled_at=NOW - DAY,
    drill_passed_at=NOW - DAY,
)


def backups(**changes: Any) -> Facts:
    return facts(backups=dataclasses.replace(_WELL, **changes))


def access(subject: str, resource: str, *, verb: str = "create", refused: int = 0) -> Facts:
    at = NOW - timedelta(hours=1)
    return facts(accesses=(Access(subject, verb, resource, "g3zkp", ("x",), 2, refused, at, at, ("192.0.2.1",)),))


_BACKUP_FLEET = "system:serviceaccount:g3zkp:worker-backup"
_CLEANUP_FLEET = "system:serviceaccount:g3zkp-maint:worker-cleanup"

#: For checks of what is no manifest: facts that break them, each with the objects of its findings.
BAD: dict[str, list[tuple[Facts, list[str]]]] = {
    "keys-file-mode": [
        (folder(entry(mode=0o644)), ["/data/keys/identity-1.json"]),
        (
            folder(entry(mode=0o640), entry("old/a.json", mode=0o602)),
            ["/data/keys/old/a.json", "/data/keys/identity-1.json"],
        ),
    ],
    "keys-folder-mode": [
        (folder(entry(".", "folder", 0o777)), ["/data/keys"]),
        (folder(entry("old", "folder", 0o711)), ["/data/keys/old"]),
    ],
    "keys-file-owner": [(folder(entry(uid=1002)), ["/data/keys/identity-1.json"])],
    "keys-file-kind": [(folder(entry("x", "link", 0o777), entry("y", "other")), ["/data/keys/x", "/data/keys/y"])],
    "redis-no-password": [(server(is_open=True), ["Redis/broker"])],
    "redis-public": [
        (server(at="93.184.216.34"), ["Redis/broker"]),
        (server(at="127.0.0.1", binds=("*",)), ["Redis/broker"]),
    ],
    "key-overdue": [(key(10 * DAY), ["Key/signing"])],
    "key-unknown": [(key(None, "the Secret has no signing-key"), ["Key/signing"])],
    "backup-unencrypted": [
        (backups(to_nobody=("g3zkp_full_20260301_020000",)), ["Backup/g3zkp_full_20260301_020000"]),
        (backups(open_archives=("2026/03/a.tar",)), ["Archive/2026/03/a.tar"]),
    ],
    "backup-stale": [
        (backups(newest_at=NOW - 2 * DAY), ["Store/backups"]),
        (backups(newest=None, newest_at=None), ["Store/backups"]),
    ],
    "backup-not-believed": [(backups(invalid=1), ["Store/backups"])],
    "backup-partial": [(backups(is_partial=True), ["Store/backups"])],
    "backup-undrilled": [
        (backups(drill_passed_at=None, drilled_at=None), ["Store/backups"]),
        (backups(drill_passed_at=None), ["Store/backups"]),
        (backups(drill_passed_at=NOW - 20 * DAY), ["Store/backups"]),
    ],
    "log-command": [
        (access("mallory", "pods/exec"), ["Access/g3zkp/pods/exec/create:mallory"]),
        (access("mallory", "pods/exec", refused=2), ["Access/g3zkp/pods/exec/create:mallory"]),
    ],
    "log-secret": [(access(_CLEANUP_FLEET, "secrets", verb="list"), [f"Access/g3zkp/secrets/list:{_CLEANUP_FLEET}"])],
}

#: And facts that do not.
GOOD: dict[str, list[Facts]] = {
    "keys-file-mode": [folder(entry(), entry(mode=0o400), entry("old", "folder", 0o755))],
    "keys-folder-mode": [folder(entry(".", "folder", 0o700), entry(mode=0o644))],
    "keys-file-owner": [folder(entry(), entry(".", "folder", 0o700), entry(uid=0))],
    "keys-file-kind": [folder(entry(), entry(".", "folder", 0o700))],
    "redis-no-password": [server()],
    "redis-public": [server(), server(binds=("*",)), server(at="127.0.0.1", binds=("127.0.0.1", "-::1"))],
    "key-overdue": [key(8 * DAY), key(None, "unknown")],
    "key-unknown": [key(10 * DAY)],
    "backup-unencrypted": [backups(), backups(newest=None, newest_at=None)],
    "backup-stale": [backups()],
    "backup-not-believed": [backups()],
    "backup-partial": [backups()],
    "backup-undrilled": [backups(), backups(newest=None, newest_at=None, drill_passed_at=None)],
    "log-command": [access(_CLEANUP_FLEET, "pods/exec"), access("mallory", "secrets")],
    "log-secret": [access(_BACKUP_FLEET, "secrets", verb="list"), access("mallory", "pods/exec")],
}

BLIND = Unseen("files", "the messenger's key files", "no exec", is_meant=False)
