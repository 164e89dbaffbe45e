"""The names of everything that this package keeps in Redis, and what may be in them."""

from __future__ import annotations

import re

from g3zkp_maint.errors import BadInput

#: Every resource that has a holder, by the latest expiry among its holders (sorted set): so that listing needs no SCAN.
LEASES = "g3zkp:leases"

#: The places in the queue for leases, counted up.
QUEUE_PLACES = "g3zkp:lease-places"

#: Runs that are not at their end, by the time of their last change (sorted set), for the reaper.
OPEN_RUNS = "g3zkp:runs:open"

#: Runs by the time of their last change (sorted set), for listings; as old as the records themselves are kept.
RECENT_RUNS = "g3zkp:runs:recent"

JOURNAL = "g3zkp:journal"
JOURNAL_HEAD = "g3zkp:journal:head"
JOURNAL_ANCHOR = "g3zkp:journal:anchor"

_RESOURCE = re.compile(r"[!-~]{1,300}")
_TASK = re.compile(r"[a-z][a-z0-9_.-]{0,79}")
_SLOT = re.compile(r"[!-~]{1,200}")


def lease(resource: str) -> str:
    """Holders of a resource (hash: owner -> holding)."""
    return f"g3zkp:lease:{_checked(_RESOURCE, resource, 'resource')}"


def waiters(resource: str) -> str:
    """Those who queue for a resource (hash: owner -> place)."""
    return f"g3zkp:lease-waiters:{resource}"


def fence(resource: str) -> str:
    """The counter behind a resource's fencing tokens; never expires.

    Resources of a family (`run:...`) share one: it only ever grows, so tokens still rise for each of them, and a run
    of last year leaves no key behind.
    """
    return f"g3zkp:fence:{resource.split(':', 1)[0]}"


def run(task: str, slot: str) -> str:
    """The record of a run (hash)."""
    return f"g3zkp:run:{run_name(task, slot)}"


def run_parts(task: str, slot: str) -> str:
    """How often the parts of a run's canvases were started (hash: `chain:part` -> count)."""
    return f"g3zkp:run-parts:{run_name(task, slot)}"


def run_name(task: str, slot: str) -> str:
    """`task:slot`. A task has no colon in its name, so the two can be told apart again."""
    return f"{_checked(_TASK, task, 'task')}:{_checked(_SLOT, slot, 'slot')}"


def run_resource(task: str, slot: str) -> str:
    """The lease by which a run shows that it is alive."""
    return f"run:{run_name(task, slot)}"


def _checked(pattern: re.Pattern[str], value: str, what: str) -> str:
    if not pattern.fullmatch(value):
        raise BadInput(f"{what} {value[:80]!r} is not a usable name; it must match {pattern.pattern}")
    return value
