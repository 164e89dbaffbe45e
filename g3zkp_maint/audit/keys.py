"""The messenger's keys: whether each is rotated when it should be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.facts import Facts
from g3zkp_maint.audit.finding import Severity

_NEEDS = ("keys",)


def _overdue(facts: Facts) -> Iterator[Found]:
    for one in facts.keys or ():
        if one.rotated_at is None:
            continue
        age = facts.at - one.rotated_at
        if age > one.every + facts.limits.key_grace:
            yield Found(f"Key/{one.type}", f"was rotated {_days(age)} ago, and is due after {_days(one.every)}")


def _unknown(facts: Facts) -> Iterator[Found]:
    for one in facts.keys or ():
        if one.rotated_at is None:
            yield Found(f"Key/{one.type}", one.problem)


def _days(time: timedelta) -> str:
    return f"{time / timedelta(days=1):.1f} days"


CHECKS: tuple[Check[Facts], ...] = (
    Check(
        Rule(
            "key-overdue",
            "A key of the messenger is overdue",
            Severity.HIGH,
            "Each type of key: its last rotation, against its interval (`rotation.*_hours`) and `audit.key_grace_days`, "
            "as rotations are weekly.",
            "A key that leaked serves whoever has it for as long as it is in use.",
            "g3zkp-maint keys rotate; see why the weekly rotation did not: g3zkp-maint runs --task crypto.rotate_keys.",
        ),
        _overdue,
        _NEEDS,
    ),
    Check(
        Rule(
            "key-unknown",
            "It is not known when a key was rotated",
            Severity.MEDIUM,
            "As key-overdue.",
            "It may have been in use for ever.",
            "g3zkp-maint keys status; the next rotation makes it known.",
        ),
        _unknown,
        _NEEDS,
    ),
)
