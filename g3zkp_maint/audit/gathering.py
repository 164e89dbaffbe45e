"""The facts of a run, gathered part by part: a part that cannot be looked at costs that part, and is told.

Each part has a source: a function that looks, or the reason why it is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from g3zkp_maint.audit.facts import Facts, Unseen
from g3zkp_maint.errors import MaintenanceError

#: What is lost with each part, for people.
PARTS = {
    "objects": "the cluster: workloads, networks, rights",
    "files": "the messenger's key files",
    "redis": "the Redis servers",
    "keys": "the age of the messenger's keys",
    "backups": "the backups",
    "accesses": "the audit log of the API server",
}


#: And what the monthly audit looks at beside.
OF_WHOLE = {
    "verified": "each kept backup",
    "journal": "the journal's chain",
    "restorable": "whether the objects of the newest backup could be restored, and what has changed since",
    "vulnerabilities": "known vulnerabilities",
    "secrets": "names of Secrets",
}

F = TypeVar("F", bound=Facts)


@dataclass(frozen=True, slots=True)
class Seen:
    """`value` is that of the part in the facts; `lacks` is what else was to be seen: what, why, and whether that is meant
    so."""

    value: Any
    lacks: tuple[tuple[str, str, bool], ...] = ()


Source = Callable[[], Seen] | str


def gather(empty: F, sources: Mapping[str, Source]) -> F:
    """`empty` with each part that its source has seen; what is no part of the sources is left alone. A source may raise any
    MaintenanceError."""
    values: dict[str, Any] = {}
    unseen: list[Unseen] = []
    for part, source in sources.items():
        what = {**PARTS, **OF_WHOLE}[part]
        if isinstance(source, str):
            unseen.append(Unseen(part, what, source, is_meant=True))
            continue
        try:
            seen = source()
        except MaintenanceError as error:
            unseen.append(Unseen(part, what, str(error), is_meant=False))
            continue
        values[part] = seen.value
        unseen += [Unseen(part, lack, why, is_meant) for lack, why, is_meant in seen.lacks]
    return replace(empty, **values, unseen=(*empty.unseen, *unseen))
