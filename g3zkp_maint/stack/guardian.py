"""A small process that outlives a killed `up` and stops what it has left.

It reads a pipe whose other end `up` alone holds. A byte means that `up` ended in order; an end without one, that it
was killed. Signals from the terminal are not for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from g3zkp_maint.stack.leftovers import sweep


class Guardian:
    """The side of `up`. Not itself a part of the stack: it would stop itself."""

    def __init__(self, root: Path, run: str) -> None:
        self._root = root
        self._run = run
        self._process = self._started()

    def ensure(self) -> None:
        """Starts it again should it have died."""
        if self._process.poll() is not None:
            self._process = self._started()

    def dismiss(self) -> None:
        """Ends it without a sweep; waits for it."""
        try:
            self._process.communicate(b".")
        except BrokenPipeError:
            self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "g3zkp_maint.stack.guardian", str(self._root), self._run],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def watch(root: Path, run: str) -> None:
    """Returns when `up` has ended; sweeps if it was killed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.read(sys.stdin.fileno(), 1) == b"":
        sweep(root, run)


if __name__ == "__main__":
    watch(Path(sys.argv[1]), sys.argv[2])
