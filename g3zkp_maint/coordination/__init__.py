"""When work may be done: leases, run records, and the journal. All of it in Redis, and the only place that knows Redis."""

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
