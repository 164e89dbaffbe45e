"""A process as it can be known again: by its id and its start time, since ids are given out anew.

Linux reads /proc; elsewhere `ps` tells the start time to the second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_HAS_PROC = sys.platform.startswith("linux")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """`started` is opaque: equal for the same process, and only for it."""

    pid: int
    started: str

    def is_alive(self) -> bool:
        """Whether this very process runs. One that has ended and is not yet reaped (a zombie) does not."""
        return self.started != "" and start_time(self.pid) == self.started


def identify(pid: int) -> ProcessIdentity:
    """The identity of a process; one that never is alive where there is no such process."""
    return ProcessIdentity(pid, start_time(pid) or "")


def start_time(pid: int) -> str | None:
    """When the process began, in the system's own unit; None where none runs under that id."""
    return _proc_start(pid) if _HAS_PROC else _ps_start(pid)


def has_environment(pid: int, setting: str) -> bool:
    """Whether the process was started with `NAME=value` in its environment. False where that cannot be read."""
    try:
        return setting.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signals the process group of `leader`; nothing happens where it has no member any more."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        # macOS answers EPERM for a group of zombies. Ours are all of our own user.
        return


def _proc_start(pid: int) -> str | None:
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return fields[19]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on (field 3); the name before it may hold blanks and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def _ps_start(pid: int) -> str | None:
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    shown = done.stdout.strip()
    if done.returncode != 0 or shown.startswith("Z"):
        return None
    return shown.partition(" ")[2].strip() or None
