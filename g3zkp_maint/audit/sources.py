"""Where each part of the facts comes from: the ports, asked once. Nothing is written, and no Secret's value is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from g3zkp_maint.audit import audit_log
from g3zkp_maint.audit.declared import of_kind
from g3zkp_maint.audit.facts import Backups, KeyAge, KeyFile, KeyFolder, RedisServer
from g3zkp_maint.audit.gathering import Seen
from g3zkp_maint.audit.log_files import LogFiles
from g3zkp_maint.audit.rights import unresolved
from g3zkp_maint.backup.manifest import Archive, Manifest, Outcome
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.coordination.exposure import exposure
from g3zkp_maint.coordination.journal import Journal
from g3zkp_maint.errors import BadInput, MaintenanceError, MessengerCallFailed, ObjectMissing, PlatformUnavailable
from g3zkp_maint.messenger_call import call
from g3zkp_maint.metrics.store_facts import look_into_store
from g3zkp_maint.platforms.base import REDIS, Platform
from g3zkp_maint.platforms.inspection import Inspection
from g3zkp_maint.rotation.entries import KEY_TYPES, KeyType
from g3zkp_maint.rotation.history import TASK, turns
from g3zkp_maint.rotation.standing import Standing

#: How an age file begins (age-encryption.org/v1).
_AGE = b"age-encryption.org/v1\n"
#: Of a backup, so many archives are looked at: one that is not encrypted is seldom alone.
_MOST_ARCHIVES = 32
_MOST_ENTRIES = 5000
_JOURNAL_DAYS = 400

_LIST_KEYS = """
  const fs = require('node:fs'), path = require('node:path');
  const [root, most] = args, entries = [];
  const kindOf = (status) => (status.isFile() ? 'file' : status.isDirectory() ? 'folder' : status.isSymbolicLink() ? 'link' : 'other');
  const look = (name) => {
    let status;
    try { status = fs.lstatSync(path.join(root, name)); } catch (error) {
      if (error.code === 'ENOENT' && name !== '.') return;  // gone since it was listed
      throw error;
    }
    if (entries.length >= most) return;
    entries.push([name, kindOf(status), status.mode & 0o7777, status.uid, status.gid]);
    if (status.isDirectory()) for (const one of fs.readdirSync(path.join(root, name)).sort()) look(path.join(name, one));
  };
  look('.');
  return { uid: process.getuid(), entries };
"""


def objects(inspection: Inspection, namespaces: Sequence[str], *, in_cluster: bool) -> Seen:
    """All but Secrets; `in_cluster`: with what is of no namespace. A role that is bound and was not seen lacks, and so does
    a namespace that is not there: each has an account at least."""
    found = inspection.look()
    lacks = [(what, why, False) for what, why in found.refused]
    accounts = {str(one["metadata"]["namespace"]) for one in of_kind(found.objects, "ServiceAccount")}
    refused = {what for what, _ in found.refused}
    lacks += [
        (f"namespace {one}", "there is none of that name: see platform.namespace and audit.fleets_namespace", False)
        for one in namespaces
        if one not in accounts and f"serviceaccounts in {one}" not in refused
    ]
    if not in_cluster:
        lacks.append(("rights in the whole cluster", "audit.look_into_cluster is off", True))
    # Whether it is not there, or was not to be listed: what it allows is not known.
    lacks += [(role, f"it was not seen, and {binding} grants it", True) for binding, role in unresolved(found.objects)]
    return Seen(found.objects, tuple(lacks))


def files(platform: Platform, folder: PurePosixPath, *, seconds: float) -> Seen:
    """By a command in the messenger, which is as it sees them. Raises as `messenger_call.call`."""
    told = call(platform, _LIST_KEYS, timeout_seconds=seconds, args=(str(folder), _MOST_ENTRIES))
    try:
        entries = tuple(KeyFile(str(path), str(kind), *map(int, rest)) for path, kind, *rest in told["entries"])
        found = KeyFolder(str(folder), int(told["uid"]), entries, is_whole=len(entries) < _MOST_ENTRIES)
    except (TypeError, ValueError, KeyError) as error:
        raise MessengerCallFailed(f"the messenger's list of {folder} makes no sense: {error}") from error
    lacks = () if found.is_whole else ((f"{folder}", f"only {_MOST_ENTRIES} entries of it were looked at", False),)
    return Seen(found, lacks)


def redis_servers(broker: str, platform: Platform | None) -> Seen:
    """The broker by its URL, and each instance of the messenger's Redis where `platform` is given. Of these no password
    is known, or needed. Raises CoordinationUnavailable where none of them could be asked."""
    addresses = {"broker": broker}
    lacks: list[tuple[str, str, bool]] = []
    if platform is None:
        lacks.append(("the messenger's Redis", "audit.look_into_redis is off", True))
    else:
        try:
            addresses |= _instances(platform)
        except MaintenanceError as error:
            lacks.append(("the messenger's Redis", str(error), False))
    found = []
    for name, url in addresses.items():
        try:
            seen = exposure(url)
        except MaintenanceError as error:
            lacks.append((f"Redis {name}", str(error), False))
            continue
        found.append(RedisServer(name, seen.address, seen.addresses, seen.answers_without_password, seen.binds))
    return Seen(tuple(found), tuple(lacks))


def _instances(platform: Platform) -> dict[str, str]:
    """By a name that stays: that of a local instance has its process id."""
    found = [one for one in platform.instances(REDIS) if one.address]
    if not found:
        raise PlatformUnavailable("no instance of the messenger's Redis runs")
    return {f"messenger-{place}": f"redis://{one.address}/0" for place, one in enumerate(found)}


def keys_by_secret(standings: tuple[Standing, ...]) -> Seen:
    return Seen(tuple(KeyAge(one.type, one.last, one.every, one.fault or one.doubt) for one in standings))


def keys_by_journal(journal: Journal, every: dict[KeyType, timedelta], now: datetime) -> Seen:
    """For who may not read the Secret. Raises CoordinationUnavailable."""
    last: dict[str, datetime] = {}
    for turn in turns(journal.read(now - timedelta(days=_JOURNAL_DAYS), task=TASK)):
        if turn.outcome == "rotated":
            last[turn.type] = turn.at
    unknown = "the journal tells of no rotation; the Secret is not read (audit.look_into_secret)"
    return Seen(tuple(KeyAge(one, last.get(one), every[one], "" if one in last else unknown) for one in KEY_TYPES))


def backups(repository: Repository, *, every: bool = False) -> Seen:
    """`every`: whether each backup is encrypted, and not just the newest whole one. Raises StoreUnavailable,
    KeyMaterialError."""
    told = look_into_store(repository)
    believed: Iterable[Manifest] = (one for one in repository.manifests() if isinstance(one, Manifest))
    if every:
        believed = list(believed)
    newest = next((one for one in believed if one.outcome == Outcome.OK), None)
    judged = believed if every else [newest] if newest else []
    archives = _archives(judged)
    looked_at = archives if every else archives[:_MOST_ARCHIVES]
    drill = told.drill
    found = Backups(
        newest=newest.name if newest else None,
        newest_at=newest.at if newest else None,
        to_nobody=tuple(one.name for one in judged if not one.recipients),
        open_archives=tuple(one.key for one in looked_at if not _is_age(repository, one)),
        invalid=told.invalid,
        is_partial=told.is_partial,
        drilled_at=_moment(drill.at) if drill else None,
        drill_passed_at=_moment(drill.passed_at) if drill else None,
    )
    left = len(archives) - len(looked_at)
    why = f"the scan sees whether {_MOST_ARCHIVES} of them are encrypted, the audit looks at all"
    return Seen(found, ((f"{left} archives of the newest backup", why, True),) if left else ())


def _archives(manifests: Iterable[Manifest]) -> list[Archive]:
    """Each once. A backup's own come first: those of earlier ones were looked at with these."""
    found: dict[str, Archive] = {}
    for one in manifests:
        own = set(one.own_archives())
        for archive in sorted(one.archives, key=lambda each: each not in own):
            found.setdefault(archive.key, archive)
    return list(found.values())


def _is_age(repository: Repository, archive: Archive) -> bool:
    """What is missing is for verification to tell."""
    try:
        head = b"".join(repository.store.get(repository.full_key(archive.key), (0, len(_AGE))))
    except ObjectMissing:
        return True
    return head == _AGE


def accesses(path: Path, *, since: datetime, most_bytes: int, namespaces: tuple[str, ...]) -> Seen:
    """By the file and those that it was rotated into. What is not known of the time since then lacks. Raises BadInput for a
    file that cannot be read."""
    try:
        with LogFiles(path, since, most_bytes) as log:
            found = audit_log.read(log, since=since, namespaces=namespaces)
    except OSError as error:
        raise BadInput(
            f"audit.log={path} cannot be read: {error.strerror}; name the file, and let it be read"
        ) from error
    lacks = [(f"{name} of the audit log", why, False) for name, why in log.unreadable]
    if found.oldest is not None and found.oldest > since and not log.is_covered:
        why = f"the last {most_bytes} bytes are read (audit.log_bytes)" if log.is_cut else "no older file is there"
        asked, begins = (f"{one:%Y-%m-%d %H:%M}Z" for one in (since, found.oldest))
        lacks.append(
            ("the beginning of the audit log", f"of the time since {asked} it tells from {begins} on: {why}", False)
        )
    if found.dropped:
        what = f"{found.dropped} calls are left out: only {audit_log.MOST} kinds of calls are told apart"
        lacks.append(("calls in the audit log", what, False))
    if found.unreadable:
        lacks.append(("lines of the audit log", f"{found.unreadable} of {found.lines} are none of an audit log", False))
    if found.newest is None or found.newest < since:
        lacks.append(("the audit log of late", f"{path} has no line since {since:%Y-%m-%d %H:%M}Z", False))
    return Seen(found.accesses, tuple(lacks))


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
