"""What has changed since the run before: pure. A finding is the same by its check and its object."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from g3zkp_maint.audit.finding import Finding, worst_first


@dataclass(frozen=True, slots=True)
class Comparison:
    """`new` are not of before, or worse than before; `gone` were there before and are not now. `since` is when the run
    before was."""

    since: datetime
    new: tuple[Finding, ...]
    standing: tuple[Finding, ...]
    gone: tuple[Finding, ...]


def compare(before: Iterable[Finding], now: Iterable[Finding], *, sure: Collection[str], since: datetime) -> Comparison:
    """`sure` are the checks that saw all they were to see now: what another one had found is not known to be gone, and
    counts as standing."""
    known = {one.key: one for one in before}
    found = {one.key: one for one in now}
    new = [one for key, one in found.items() if key not in known or one.severity.rank < known[key].severity.rank]
    standing = [one for one in found.values() if one not in new]
    left = [one for key, one in known.items() if key not in found]
    standing += [one for one in left if one.check not in sure]
    gone = [one for one in left if one.check in sure]
    return Comparison(since, worst_first(new), worst_first(standing), worst_first(gone))
