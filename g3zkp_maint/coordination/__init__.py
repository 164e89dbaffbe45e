"""When work may be done: leases, run records, and the journal. All of it in Redis, and the only place that knows Redis.

The names below are loaded when first used: who only needs a Guard does not pay for Redis and logging (0.1 s).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from g3zkp_maint.coordination.connection import connect
    from g3zkp_maint.coordination.guard import AllOf, Guard, Unguarded
    from g3zkp_maint.coordination.journal import Journal, JournalAudit, JournalEvent, JournalRecord, Step
    from g3zkp_maint.coordination.lease import (
        DATA,
        KEYS,
        REDIS,
        RESOURCES,
        STORE,
        WORKLOAD,
        Holding,
        Lease,
        Leases,
        Mode,
    )
    from g3zkp_maint.coordination.run import Finished, Runs, Started
    from g3zkp_maint.coordination.run_record import RunError, RunRecord, RunState

_HOME = {
    "AllOf": "guard",
    "DATA": "lease",
    "Finished": "run",
    "Guard": "guard",
    "Holding": "lease",
    "Journal": "journal",
    "JournalAudit": "journal",
    "JournalEvent": "journal",
    "JournalRecord": "journal",
    "KEYS": "lease",
    "Lease": "lease",
    "Leases": "lease",
    "Mode": "lease",
    "REDIS": "lease",
    "RESOURCES": "lease",
    "RunError": "run_record",
    "RunRecord": "run_record",
    "RunState": "run_record",
    "Runs": "run",
    "STORE": "lease",
    "Started": "run",
    "Step": "journal",
    "Unguarded": "guard",
    "WORKLOAD": "lease",
    "connect": "connection",
}

__all__ = [
    "DATA",
    "KEYS",
    "REDIS",
    "RESOURCES",
    "STORE",
    "WORKLOAD",
    "AllOf",
    "Finished",
    "Guard",
    "Holding",
    "Journal",
    "JournalAudit",
    "JournalEvent",
    "JournalRecord",
    "Lease",
    "Leases",
    "Mode",
    "RunError",
    "RunRecord",
    "RunState",
    "Runs",
    "Started",
    "Step",
    "Unguarded",
    "connect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
