"""Helper pods of restores that nobody goes on with: removed at regular times, as each holds the messenger's volume."""

from __future__ import annotations

from g3zkp_maint.backup.places import HELPERS
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.lease import WORKLOAD, Mode
from g3zkp_maint.errors import LeaseBusy

TASK = "crypto.sweep_helpers"


def sweep(services: Services) -> int:
    """Removes those that are left behind, and returns how many. A restore has its leases for as long as somebody is at it:
    beside one nothing is looked at, and where there is none every helper is forsaken, whatever the clocks of its owner's
    machine and of this one say. Raises what the platform raises."""
    try:
        # Not in the queue: who waits for a restore's end would hold others up, and the next look is soon.
        with services.leases.acquire({WORKLOAD: Mode.SHARED}, owner=TASK, queue=False):
            return services.platform.sweep_helpers(forsaken=HELPERS)
    except LeaseBusy:
        return 0
