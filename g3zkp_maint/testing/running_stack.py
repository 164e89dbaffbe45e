"""A real stack for tests: `g3zkp-maint up` as its own process on a folder of its own, ended by its own id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from g3zkp_maint.stack import inquiry
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.leftovers import sweep

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_COMMAND = "from g3zkp_maint.cli import main; main()"


@dataclass(frozen=True)
class RunningStack:
    """`process` is `up` itself; what it says goes to `output`."""

    layout: Layout
    process: subprocess.Popen[bytes]
    output: Path

    def said(self) -> str:
        return self.output.read_text()

    def pid(self, name: str) -> int:
        """The process id of a part; 0 while it is down."""
        found = {one["name"]: one["pid"] for one in inquiry.status(self.layout).processes}
        return int(found.get(name, 0))

    def is_ready(self, name: str) -> bool:
        return any(one["name"] == name and one["ready"] for one in inquiry.status(self.layout).processes)

    def stop(self) -> int:
        """Ends it by SIGTERM and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_SECONDS)


@contextmanager
def running_stack(
    state_dir: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """Starts a stack on `state_dir` and yields it when all is ready; nothing of it runs afterwards."""
    layout = Layout.at(state_dir)
    layout.make_folders()
    output = layout.log("up")
    stack = RunningStack(layout, start(layout, *options, output=output, environment=environment), output)
    try:
        wait_for(lambda: _is_up(stack), _START_SECONDS, lambda: f"the stack is not up; it said: {stack.said()}")
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.stop()
        sweep(layout.root)


def start(
    layout: Layout, *options: str, output: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts `g3zkp-maint up` and does not wait."""
    with output.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "up", "--state-dir", str(layout.root), *options],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def wait_for(condition: Callable[[], bool], deadline_seconds: float, what: Callable[[], str]) -> None:
    """Returns once the condition holds; raises AssertionError with `what` past the deadline."""
    until = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() >= until:
            raise AssertionError(what())
        time.sleep(0.05)


def _is_up(stack: RunningStack) -> bool:
    if stack.process.poll() is not None:
        raise AssertionError(f"up ended with {stack.process.returncode}; it said: {stack.said()}")
    return inquiry.status(stack.layout).is_up
