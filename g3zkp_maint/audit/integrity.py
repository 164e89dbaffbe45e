"""The monthly audit's own questions: is every kept backup whole, can the objects be restored, was the journal altered?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.whole import WholeFacts

_SHOWN = 3
_RIGHTS = re.compile(r"(Role|RoleBinding)\.rbac\.authorization\.k8s\.io/")


def _damaged(facts: WholeFacts) -> Iterator[Found]:
    for one in facts.verified or ():
        if one.problems:
            more = f"; and {len(one.problems) - _SHOWN} more" if len(one.problems) > _SHOWN else ""
            yield Found(f"Backup/{one.name}", "; ".join(one.problems[:_SHOWN]) + more)


def _altered(facts: WholeFacts) -> Iterator[Found]:
    if facts.journal is not None and facts.journal.broken:
        yield Found("Journal", f"{facts.journal.broken}, after {facts.journal.records} records that are whole")


def _refused(facts: WholeFacts) -> Iterator[Found]:
    for one in facts.restorable or ():
        if one.outcome == "refused":
            # No fleet may give rights: that these are refused to it is meant so.
            severity = Severity.LOW if _RIGHTS.match(one.object) else None
            yield Found(one.object, f"the server refuses it as {one.backup} has it: {one.why}", severity)


def _drifted(facts: WholeFacts) -> Iterator[Found]:
    for one in facts.restorable or ():
        if one.outcome == "changed":
            yield Found(one.object, f"is other than in {one.backup}: {one.why}")
        elif one.outcome == "created":
            yield Found(one.object, f"is in {one.backup}, and not there now")


CHECKS: tuple[Check[WholeFacts], ...] = (
    Check(
        Rule(
            "backup-damaged",
            "A kept backup is not whole",
            Severity.CRITICAL,
            "Every kept backup: each object that a restore of it needs, by `audit.verify` "
            "(full: its bytes, up to `audit.verify_bytes`; quick: its size).",
            "It cannot be restored, or not all of it.",
            "g3zkp-maint backup verify NAME --mode full names the files; take a full backup, and look for a copy of what is damaged.",
        ),
        _damaged,
        ("verified",),
    ),
    Check(
        Rule(
            "journal-altered",
            "The journal was altered",
            Severity.CRITICAL,
            "The chain of the journal's records, from the oldest to the newest.",
            "Somebody who can write to the maintenance Redis has changed, removed or added what was done.",
            "Compare with the logs, which have number and digest of each record; find out who has the Redis password.",
        ),
        _altered,
        ("journal",),
    ),
    Check(
        Rule(
            "restore-refused",
            "An object of the newest backup could not be restored",
            Severity.HIGH,
            "Each of the cluster's objects in the newest whole backup, applied on the server without effect (dry run). Low for "
            "Roles and RoleBindings, which no fleet may give.",
            "A restore would leave it out: a right lacks, or the cluster takes it no more.",
            "Give the crypto fleet the right that is named, or take a backup of the object as the cluster takes it now. Roles and "
            "RoleBindings are restored by an administrator.",
        ),
        _refused,
        ("restorable",),
    ),
    Check(
        Rule(
            "object-drifted",
            "An object is other than in the newest backup",
            Severity.LOW,
            "The same dry run: objects that restoring would change or make.",
            "It was changed or deleted since, by somebody or something; a restore would bring it back as it was.",
            "See who changed it; if it is to stay so, the next backup has it.",
        ),
        _drifted,
        ("restorable",),
    ),
)
