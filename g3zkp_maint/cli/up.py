"""`up`, `down`, `status`: the embedded stack on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from g3zkp_maint.cli.failure import FAILED
from g3zkp_maint.cli.output import AsJson, print_json, print_table, say
from g3zkp_maint.errors import DeadlineExceeded, PermanentError
from g3zkp_maint.stack import embedded, inquiry
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.preparation import Options
from g3zkp_maint.stack.processes import Recipe

StateDir = Annotated[
    Path, typer.Option("--state-dir", envvar="G3ZKP_PLATFORM__STATE_DIR", help="The folder that holds all of it.")
]
Port = Annotated[int | None, typer.Option(help="Default: the one of the last start, at first a free one.")]

_DETACHED_SECONDS = 90.0
_POLL_SECONDS = 0.1


def up(
    state_dir: StateDir = Path("state"),
    fleets: Annotated[bool, typer.Option(help="Workers, beat, metrics; without, start them yourself.")] = True,
    flower: Annotated[bool, typer.Option(help="Flower, the tasks' page.")] = True,
    detach: Annotated[bool, typer.Option("--detach", help="Go to the background once all is ready.")] = False,
    messenger_port: Port = None,
    flower_port: Port = None,
    metrics_port: Port = None,
    coordination_port: Port = None,
    redis_port: Port = None,
    app: Annotated[str, typer.Option(hidden=True, help="Celery's -A.")] = "workers.app",
) -> None:
    """Start everything on this machine: Valkey, the messenger, four fleets, beat, metrics, Flower. Ctrl-C stops all.

    A second Ctrl-C does not wait for running tasks; they are taken up again at the next start.
    """
    layout = Layout.at(state_dir)
    if detach:
        _start_detached(layout, [arg for arg in sys.argv[1:] if arg != "--detach"])
        return
    ports = {
        "messenger": messenger_port,
        "flower": flower_port,
        "metrics": metrics_port,
        "coordination": coordination_port,
        "redis": redis_port,
    }
    options = Options(ports, fleets, flower, app)
    embedded.run(layout, options, user=os.environ, say=_say_now, started=_show_started)
    say("stopped")


def down(state_dir: StateDir = Path("state")) -> None:
    """Stop what `up` started, in order; running tasks get time to end or go back to their queues."""
    say("stopped" if inquiry.down(Layout.at(state_dir)) else "nothing was running")


def status(state_dir: StateDir = Path("state"), as_json: AsJson = False) -> None:
    """What of the stack runs, and where. Exit code 1 when it is down."""
    found = inquiry.status(Layout.at(state_dir))
    if as_json:
        print_json(found.as_dict())
    elif found.is_running:
        _show(found)
    else:
        say(f"nothing runs on {found.state_dir}; start it with: g3zkp-maint up")
    if not found.is_running:
        raise typer.Exit(FAILED)


def _show_started(recipe: Recipe) -> None:
    found = inquiry.status(recipe.layout)
    _show(found)
    say("")
    say(
        f"Keys, data and logs are in {found.state_dir}; a Python shell sees the stack after: . {recipe.layout.env_file}"
    )
    _say_now("Ctrl-C stops all.")


def _show(found: inquiry.StackStatus) -> None:
    rows = [
        (
            one["name"],
            "ready" if one["ready"] else ("starting" if one["pid"] else "down"),
            one["pid"] or None,
            one["restarts"],
            found.addresses.get(_address_name(one["name"])),
            _relative(one["log"]),
        )
        for one in found.processes
    ]
    print_table(("process", "state", "pid", "restarts", "address", "log"), rows, right=("pid", "restarts"))


def _address_name(process: str) -> str:
    return "messenger" if process == "g3zkp-messenger" else process


def _relative(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _say_now(text: str) -> None:
    """A line at once, also into a pipe: what runs for days must not keep its news in a buffer."""
    say(text)
    sys.stdout.flush()


def _start_detached(layout: Layout, argv: list[str]) -> None:
    layout.make_folders()
    log_path = layout.log("up")
    code = "from g3zkp_maint.cli import main; main()"
    with log_path.open("ab") as log:
        began = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-c", code, *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until = time.monotonic() + _DETACHED_SECONDS
    while not _is_ready(layout, process.pid):
        if process.poll() is not None:
            raise PermanentError(f"the stack did not start: {_since(log_path, began)}")
        if time.monotonic() >= until:
            raise DeadlineExceeded(f"the stack is not ready after {_DETACHED_SECONDS:g} s; see {log_path}")
        time.sleep(_POLL_SECONDS)
    _show(inquiry.status(layout))


def _is_ready(layout: Layout, pid: int) -> bool:
    found = inquiry.status(layout)
    return found.pid == pid and found.is_up


def _since(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read(4000).decode(errors="replace").strip() or "it wrote nothing"
