"""What backups open with, after the recipients have changed: pure.

An archive opens for the recipients that it was made for, for ever: objects are never overwritten. An incremental takes
contents from archives of earlier backups, so who opens *it* must be able to open those as well, whoever its own manifest
names. A recipient that was added opens no backup whole until a full one was made for it.

Nothing here re-encrypts: that would be a restore and a new backup in one, and each manifest (signed, never replaced)
would go on naming the old objects. A new full backup does the same by the ordinary way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from g3zkp_maint.backup.manifest import Manifest, Outcome
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.retention import Head, plan_retention
from g3zkp_maint.settings import Retention

#: How far ahead the end of an old recipient is looked for. Past it, "kept for longer" is all one need know.
HORIZON_DAYS = 4000
_SUNDAY = 6


@dataclass(frozen=True, slots=True)
class Opening:
    """What a backup opens with. `groups`: the recipients of its own archives and lists, and of each earlier backup's that
    it takes contents from; None for one whose manifest is not there or must not be believed. `missing`: of the current
    recipients those that do not open all of it; `former`: those that open some of it and are not current."""

    name: str
    groups: Mapping[str, frozenset[str] | None]
    missing: frozenset[str]
    former: frozenset[str]

    @property
    def opens_all(self) -> frozenset[str]:
        """Each of these opens all of it by itself."""
        known = list(self.groups.values())
        return frozenset() if None in known else frozenset.intersection(*(one for one in known if one is not None))

    @property
    def opens_some(self) -> frozenset[str]:
        """Each of these opens a part of it, and no more."""
        return frozenset().union(*(one for one in self.groups.values() if one is not None)) - self.opens_all

    def needs(self, recipient: str) -> bool:
        """Whether a part of it opens with nothing else."""
        return any(group is not None and group == {recipient} for group in self.groups.values())


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one recipient: the backups that it opens whole, and in part; those of which a part is lost with its identity; and
    of a former one, until when these are kept. `kept_until` is None where there are none, and where `is_kept_on` (past the
    horizon)."""

    recipient: str
    is_current: bool
    whole: tuple[str, ...]
    partly: tuple[str, ...]
    lost_without: tuple[str, ...]
    kept_until: datetime | None
    is_kept_on: bool


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """Backups newest first; recipients: the current ones in their order, then the former ones."""

    openings: tuple[Opening, ...]
    standings: tuple[Standing, ...]

    @property
    def newest_is_current(self) -> bool:
        """Whether every current recipient opens the newest backup by itself."""
        return bool(self.openings) and not self.openings[0].missing


def report(
    manifests: Iterable[Manifest], current: Collection[str], policy: Retention, now: datetime
) -> RecipientReport:
    """`manifests`: all that are believed. `current`: the recipients of the list in force."""
    newest_first = sorted(manifests, key=lambda one: (one.at, one.name), reverse=True)
    made_for = {one.name: frozenset(one.recipients) for one in newest_first}
    openings = tuple(_opening(one, made_for, frozenset(current)) for one in newest_first)
    former = sorted(frozenset().union(*made_for.values()) - frozenset(current))
    needing = {one: frozenset(o.name for o in openings if o.needs(one)) for one in (*current, *former)}
    waiting = frozenset().union(*(needing[one] for one in former))
    ends = _ends([_head(one) for one in newest_first], waiting, policy, now)
    standings = tuple(_standing(one, openings, needing[one], ends, is_current=one in current) for one in needing)
    return RecipientReport(openings, standings)


def _opening(manifest: Manifest, made_for: Mapping[str, frozenset[str]], current: frozenset[str]) -> Opening:
    names = [manifest.name, *sorted({archive.backup for archive in manifest.archives} - {manifest.name})]
    groups = {name: made_for.get(name) for name in names}
    draft = Opening(manifest.name, groups, frozenset(), frozenset())
    return Opening(manifest.name, groups, current - draft.opens_all, (draft.opens_all | draft.opens_some) - current)


def _standing(
    recipient: str,
    openings: Iterable[Opening],
    needing: frozenset[str],
    ends: Mapping[str, datetime | None],
    *,
    is_current: bool,
) -> Standing:
    found = tuple(openings)
    until = [] if is_current else [ends[name] for name in needing]
    known = [one for one in until if one is not None]
    return Standing(
        recipient=recipient,
        is_current=is_current,
        whole=tuple(one.name for one in found if recipient in one.opens_all),
        partly=tuple(one.name for one in found if recipient in one.opens_some),
        lost_without=tuple(one.name for one in found if one.name in needing),
        kept_until=max(known) if known and len(known) == len(until) else None,
        is_kept_on=None in until,
    )


# -- until when -----------------------------------------------------------------------------------------------------------


def _head(manifest: Manifest) -> Head:
    refers_to = frozenset(archive.backup for archive in manifest.archives) - {manifest.name}
    return Head(manifest.name, manifest.at, manifest.type, manifest.outcome, manifest.run, refers_to)


def _ends(heads: list[Head], waiting: frozenset[str], policy: Retention, now: datetime) -> dict[str, datetime | None]:
    """When each of `waiting` is deleted, were a full one taken now and the calendar followed from then on: day by
    day, as prune would. None: not within the horizon."""
    ends: dict[str, datetime | None] = dict.fromkeys(waiting)
    for day in range(HORIZON_DAYS):
        if not waiting:
            break
        at = now + timedelta(days=day)
        heads = [*heads, _to_come(at, heads, is_full=day == 0 or at.weekday() == _SUNDAY)]
        going = {verdict.name for verdict in plan_retention(heads, policy, at).deleted}
        heads = [head for head in heads if head.name not in going]
        ends.update(dict.fromkeys(waiting & going, at + timedelta(hours=policy.delete_after_hours)))
        waiting -= going
    return ends


def _to_come(at: datetime, heads: list[Head], *, is_full: bool) -> Head:
    """A backup of a day to come; an incremental one takes contents from the newest full one."""
    if is_full:
        return Head(f"to-come-{at:%Y%m%d}", at, BackupType.FULL, Outcome.OK)
    full = max((head for head in heads if head.type is BackupType.FULL), key=lambda head: head.at)
    return Head(f"to-come-{at:%Y%m%d}", at, BackupType.INCREMENTAL, Outcome.OK, refers_to=frozenset({full.name}))
