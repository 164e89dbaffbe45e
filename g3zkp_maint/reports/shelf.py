"""Where reports lie in the store: a page and its facts, `reports/2026/g3zkp_report_2026-W47.html` and `.json`.

Each is put only if absent, the page last: a report exists when its page does, and is not made anew. They are no part of
any backup; neither retention nor the sweep of leftovers looks at them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from g3zkp_maint.backup.repository import Repository, read_small
from g3zkp_maint.errors import BadInput, ManifestInvalid, ObjectExists, ObjectMissing
from g3zkp_maint.reports.facts import WeekFacts
from g3zkp_maint.reports.week import Week

FOLDER = "reports/"
_PAGE = re.compile(r"reports/(\d{4})/g3zkp_report_(\1-W\d{2})\.html")


@dataclass(frozen=True, slots=True)
class Listed:
    """A report in the store; `size` of its page, in bytes."""

    week: Week
    key: str
    size: int
    stored: datetime


def page_key(week: Week) -> str:
    """Below the prefix."""
    return f"{FOLDER}{week.year}/g3zkp_report_{week}.html"


def facts_key(week: Week) -> str:
    """Below the prefix."""
    return page_key(week).removesuffix("html") + "json"


def keep(repository: Repository, facts: WeekFacts, render: Callable[[WeekFacts], str]) -> tuple[WeekFacts, bool]:
    """Stores a report, and returns its facts as they are in the store; False where it was there already.

    Those of a maker that died before its page are taken over, so that the two agree. Raises StoreError, BadInput.
    """
    store, week = repository.store, Week.parse(facts.week)
    try:
        store.put(repository.full_key(facts_key(week)), [facts.model_dump_json(indent=1).encode()], if_absent=True)
    except ObjectExists:
        facts = read_facts(repository, week) or facts
    try:
        store.put(repository.full_key(page_key(week)), [render(facts).encode()], if_absent=True)
    except ObjectExists:
        return facts, False
    return facts, True


def reports(repository: Repository) -> list[Listed]:
    """Newest week first. Raises StoreUnavailable."""
    return sorted(_listed(repository), key=lambda one: one.week, reverse=True)


def read_facts(repository: Repository, week: Week) -> WeekFacts | None:
    """None where there is none. Raises BadInput for what is none of ours; StoreUnavailable."""
    key = facts_key(week)
    try:
        return WeekFacts.model_validate_json(read_small(repository.store, repository.full_key(key)))
    except ObjectMissing:
        return None
    except (ValidationError, ManifestInvalid) as error:
        raise BadInput(f"{key} holds no facts of a report that this version can read: {type(error).__name__}") from None


def read_page(repository: Repository, week: Week) -> bytes:
    """Raises BadInput where there is none; StoreUnavailable."""
    try:
        return read_small(repository.store, repository.full_key(page_key(week)))
    except ObjectMissing:
        raise BadInput(f"there is no report of {week}; `g3zkp-maint report list` shows those there are") from None


def _listed(repository: Repository) -> Iterator[Listed]:
    for info in repository.store.list(repository.full_key(FOLDER)):
        key = repository.below(info.key)
        match = _PAGE.fullmatch(key)
        if match:
            yield Listed(Week.parse(match[2]), key, info.size, info.modified)
