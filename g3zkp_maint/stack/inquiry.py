"""The stack as seen from outside: what runs, where it is, and how to end it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from g3zkp_maint.errors import DeadlineExceeded, StackRunning
from g3zkp_maint.platforms.local_files import read_document
from g3zkp_maint.platforms.process import ProcessIdentity
from g3zkp_maint.stack import ports
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.leftovers import sweep
from g3zkp_maint.stack.preparation import held

_POLL_SECONDS = 0.1
_INSIST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class StackStatus:
    """`processes` as in processes.json, empty when the stack is down; `addresses` by what answers there; `is_up` once
    all was ready for the first time."""

    state_dir: str
    pid: int | None
    processes: tuple[Mapping[str, Any], ...]
    is_up: bool = False
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        return self.pid is not None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "state_dir": self.state_dir,
            "running": self.is_running,
            "pid": self.pid,
            "is_up": self.is_up,
            "addresses": dict(self.addresses),
            "processes": [dict(one) for one in self.processes],
        }


def status(layout: Layout) -> StackStatus:
    """What runs on that state folder now."""
    supervisor = _supervisor(layout)
    if supervisor is None:
        return StackStatus(str(layout.root), None, ())
    shown = read_document(layout.processes) or {"processes": [], "is_up": False}
    return StackStatus(str(layout.root), supervisor.pid, tuple(shown["processes"]), shown["is_up"], addresses(layout))


def addresses(layout: Layout) -> dict[str, str]:
    """Where what can be asked answers. Without passwords: those are in env.sh."""
    chosen = ports.load(layout.ports)
    if chosen is None:
        return {}
    return {
        "messenger": f"http://127.0.0.1:{chosen.messenger}",
        "flower": f"http://127.0.0.1:{chosen.flower}",
        "metrics": f"http://127.0.0.1:{chosen.metrics}/metrics",
        "coordination": f"redis://127.0.0.1:{chosen.coordination}",
        "redis": f"redis://127.0.0.1:{chosen.redis}",
    }


def down(layout: Layout, *, deadline_seconds: float = 90) -> bool:
    """Ends the stack on that folder and tells whether one ran; sweeps what a killed one has left.

    Past the deadline it insists: what still runs is killed. Raises DeadlineExceeded where even that does not help.
    """
    supervisor = _supervisor(layout)
    if supervisor is not None:
        os.kill(supervisor.pid, signal.SIGTERM)
        if not _has_ended(supervisor, deadline_seconds):
            os.kill(supervisor.pid, signal.SIGTERM)
            if not _has_ended(supervisor, _INSIST_SECONDS):
                raise DeadlineExceeded(
                    f"the stack's process {supervisor.pid} does not end; kill it: kill -9 {supervisor.pid}"
                )
    elif not layout.lock.exists():
        # No stack was ever started there: nothing is made of a folder that is not ours.
        return False
    try:
        with held(layout):
            return sweep(layout.root) > 0 or supervisor is not None
    except StackRunning:
        # Somebody has started it again, or it is just starting: not ours to stop.
        return supervisor is not None


def _supervisor(layout: Layout) -> ProcessIdentity | None:
    beat = read_document(layout.supervisor)
    if beat is None:
        return None
    found = ProcessIdentity(beat["pid"], beat["started"])
    return found if found.is_alive() else None


def _has_ended(process: ProcessIdentity, deadline_seconds: float) -> bool:
    until = time.monotonic() + deadline_seconds
    while process.is_alive():
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_SECONDS)
    return True
