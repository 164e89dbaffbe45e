"""What is left of a stack whose `up` was killed: found and stopped, by the guardian at once, by the next start at last.

Two traces lead to it. Every process of a stack, and what it starts in turn, carries the stack's folder in its
environment: that finds also what was never written down, such as the pool of a worker that was killed. And what the
supervisor has written down is known by id and start time: that finds also a program that has written its title over its
environment, and all on systems that do not show environments (macOS).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from g3zkp_maint.platforms.local_files import read_document
from g3zkp_maint.platforms.process import ProcessIdentity, has_environment, identify

# Not G3ZKP_*: a variable of that name which is no setting is refused.
_ROOT = "MAINT_STACK_ROOT"
_RUN = "MAINT_STACK_RUN"
_HAS_PROC = sys.platform.startswith("linux")
_POLL_SECONDS = 0.05


def marker(root: Path, run: str) -> dict[str, str]:
    """The settings by which a process is known to belong to the stack in `root`, and to this run of it."""
    return {_ROOT: str(root), _RUN: run}


def leftovers(root: Path, run: str | None = None) -> list[ProcessIdentity]:
    """The living processes of the stack in `root`, of one run or of all, without the caller's own."""
    marked = _marked(f"{_ROOT}={root}" if run is None else f"{_RUN}={run}") if _HAS_PROC else []
    return list({*marked, *_recorded(root, run)})


def sweep(root: Path, run: str | None = None, *, patience_seconds: float = 10) -> int:
    """Stops all that is left of the stack in `root`, by force after `patience_seconds`; counts what there was.

    Only to be called when that run's supervisor lives no more, or with the lock on the stack held. The guardian names
    its run, since the next one may have begun.
    """
    seen: set[ProcessIdentity] = set()
    until = time.monotonic() + patience_seconds
    while found := leftovers(root, run):
        late = time.monotonic() >= until
        # Those that appear meanwhile are asked as well, each once.
        _signal(found if late else (one for one in found if one not in seen), late=late)
        seen.update(found)
        time.sleep(_POLL_SECONDS)
    return len(seen)


def _marked(setting: str) -> list[ProcessIdentity]:
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    found = (identify(pid) for pid in pids if pid != os.getpid() and has_environment(pid, setting))
    return [one for one in found if one.is_alive()]


def _recorded(root: Path, run: str | None) -> list[ProcessIdentity]:
    document = read_document(root / "processes.json")
    if document is None or run not in (None, document["run"]):
        return []
    known = (ProcessIdentity(one["pid"], one["started"]) for one in document["processes"])
    return [one for one in known if one.is_alive()]


def _signal(processes: Iterable[ProcessIdentity], *, late: bool) -> None:
    for one in processes:
        try:
            os.kill(one.pid, signal.SIGKILL if late else signal.SIGTERM)
        except ProcessLookupError:
            continue
