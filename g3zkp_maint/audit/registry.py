"""All rules that a finding can name, and the checks of the security scan."""

from __future__ import annotations

from typing import cast

from g3zkp_maint.audit import (
    access,
    audit_log,
    backups,
    files,
    integrity,
    keys,
    least,
    network,
    redis,
    secrets,
    unused,
    vulnerabilities,
    workloads,
)
from g3zkp_maint.audit.check import Check, Rule
from g3zkp_maint.audit.facts import Facts
from g3zkp_maint.audit.scan import BLIND
from g3zkp_maint.audit.waivers import EXPIRED, UNMATCHED
from g3zkp_maint.audit.whole import WholeFacts
from g3zkp_maint.certificates import rules as certificates
from g3zkp_maint.errors import BadInput
from g3zkp_maint.performance.comparison import WORSE

SCAN: tuple[Check[Facts], ...] = (
    *workloads.CHECKS,
    *network.CHECKS,
    *access.CHECKS,
    *secrets.CHECKS,
    *files.CHECKS,
    *redis.CHECKS,
    *keys.CHECKS,
    *backups.CHECKS,
    *audit_log.CHECKS,
)

#: The monthly audit's: what is told of the scan's facts is told of these as well.
AUDIT: tuple[Check[WholeFacts], ...] = (
    *cast("tuple[Check[WholeFacts], ...]", SCAN),
    *integrity.CHECKS,
    *unused.CHECKS,
    *least.CHECKS,
    *vulnerabilities.CHECKS,
)

#: All of them, those of the looks at certificates and of the benchmark, and those that are about the looking itself.
RULES: tuple[Rule, ...] = (
    *(check.rule for check in AUDIT),
    *certificates.RULES,
    WORSE,
    BLIND,
    EXPIRED,
    UNMATCHED,
)


def rule(id: str) -> Rule:
    """Raises BadInput for an id that is none."""
    for one in RULES:
        if one.id == id:
            return one
    raise BadInput(f"there is no check {id!r}; g3zkp-maint audit list shows those there are")
