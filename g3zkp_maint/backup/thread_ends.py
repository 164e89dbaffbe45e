"""Threads on their way out, which a fork must not meet.

A thread that has computed with OpenSSL gives back what it had there as the system ends it: after Python counts it as
ended, before 3.13 even as joined. For that moment it holds a lock of OpenSSL's. A child that is forked just then inherits
the lock, held by nobody: the first of its threads that computes waits for it forever, and keeps the interpreter's lock.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

#: Far more than a thread needs to end. What Python did not start, and never ends, holds up nobody for longer.
PATIENCE_SECONDS = 2.0
_POLL_SECONDS = 0.001
_TASKS = Path("/proc/self/task")


def await_thread_ends(patience: float = PATIENCE_SECONDS) -> None:
    """Returns when the threads that Python counts as ended are gone, or after `patience` seconds. Call it before a fork.

    On Linux; elsewhere nobody says which there are, and it returns at once.
    """
    deadline = time.monotonic() + patience
    while _ending() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _ending() -> set[int]:
    """Ids that the system still has, and Python no more. Asked in this order, as threads may start in between."""
    there = {int(path.name) for path in _TASKS.iterdir()} if _TASKS.is_dir() else set()
    # The main thread's is the process's: after a fork, Python has the parent's there.
    return there - {thread.native_id for thread in threading.enumerate()} - {os.getpid()}
