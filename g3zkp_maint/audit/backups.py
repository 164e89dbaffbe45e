"""The backups: fresh, encrypted, believed, and proved by a drill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.facts import Facts
from g3zkp_maint.audit.finding import Severity

_NEEDS = ("backups",)
_STORE = "Store/backups"


def _stale(facts: Facts) -> Iterator[Found]:
    found = facts.backups
    if found is None:
        return
    if found.newest_at is None:
        yield Found(_STORE, "there is no backup that can be believed and is whole", Severity.CRITICAL)
    elif facts.at - found.newest_at > facts.limits.backup_age:
        yield Found(_STORE, f"the newest whole backup, {found.newest}, is {_age(facts.at, found.newest_at)} old")


def _unencrypted(facts: Facts) -> Iterator[Found]:
    found = facts.backups
    if found is None:
        return
    for name in found.to_nobody:
        yield Found(f"Backup/{name}", "names no recipient: its archives are encrypted to nobody")
    for key in found.open_archives:
        yield Found(f"Archive/{key}", "does not begin as an age file does: it is not encrypted")


def _unbelieved(facts: Facts) -> Iterator[Found]:
    if facts.backups and facts.backups.invalid:
        yield Found(_STORE, f"{facts.backups.invalid} manifests newer than the newest whole full backup")


def _partial(facts: Facts) -> Iterator[Found]:
    if facts.backups and facts.backups.is_partial:
        yield Found(_STORE, "the newest backup lacks something")


def _undrilled(facts: Facts) -> Iterator[Found]:
    found = facts.backups
    if found is None or found.newest is None:
        return
    if found.drill_passed_at is None:
        seen = f"the last of {found.drilled_at:%Y-%m-%d} failed" if found.drilled_at else "there was none"
        yield Found(_STORE, f"no drill has passed; {seen}")
    elif facts.at - found.drill_passed_at > facts.limits.drill_age:
        yield Found(_STORE, f"the last drill that passed is {_age(facts.at, found.drill_passed_at)} old")


def _age(now: datetime, then: datetime) -> str:
    return f"{(now - then) / timedelta(hours=1):.0f} h"


CHECKS: tuple[Check[Facts], ...] = (
    Check(
        Rule(
            "backup-unencrypted",
            "A backup is not encrypted",
            Severity.CRITICAL,
            "The newest whole backup, in the audit every one: its recipients, and the first bytes of its archives.",
            "Whoever reads the store reads every message and key in it.",
            "Find out what wrote it; remove the archive, and take a full backup.",
        ),
        _unencrypted,
        _NEEDS,
    ),
    Check(
        Rule(
            "backup-stale",
            "The newest backup is too old",
            Severity.HIGH,
            "The newest backup that can be believed and is whole, against `audit.backup_hours`. Critical where there is none.",
            "What came since is lost with the volume.",
            "g3zkp-maint runs --task backup.run tells why; g3zkp-maint backup run takes one now.",
        ),
        _stale,
        _NEEDS,
    ),
    Check(
        Rule(
            "backup-not-believed",
            "A backup's manifest must not be believed",
            Severity.HIGH,
            "Manifests newer than the newest whole full backup: signature, digest, form.",
            "It was damaged, replaced, or signed by somebody else.",
            "g3zkp-maint backup list tells what is wrong; find out who writes to the store.",
        ),
        _unbelieved,
        _NEEDS,
    ),
    Check(
        Rule(
            "backup-partial",
            "The newest backup is not whole",
            Severity.MEDIUM,
            "The newest backup that can be believed: its outcome.",
            "A restore of it would lack something.",
            "g3zkp-maint backup show NAME tells what lacks.",
        ),
        _partial,
        _NEEDS,
    ),
    Check(
        Rule(
            "backup-undrilled",
            "No drill has passed for too long",
            Severity.HIGH,
            "The signed evidence of drills in the store, against `audit.drill_days`.",
            "A backup that was never restored is a hope.",
            "g3zkp-maint backup drill; g3zkp-maint backup drills tells how the last ones ended.",
        ),
        _undrilled,
        _NEEDS,
    ),
)
