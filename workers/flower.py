"""Flower that only shows, to whoever is logged in: `celery -A workers.flower flower`.

Flower by itself lets in everybody, and lets who is in shut down workers and send tasks. Here it refuses to start without a
login, but for the embedded stack, on this machine's own address, and is read-only whatever its options say.
"""

from __future__ import annotations

import ast
import ipaddress
from collections.abc import Sequence
from typing import Any

from flower import command
from flower.app import Flower
from flower.options import options as flower_options

from g3zkp_maint.errors import SettingsError
from g3zkp_maint.settings import load
from workers.app import app

__all__ = ["app"]

#: What a task's message carries for the machinery alone: leases and the number of its canvas.
_NOT_FOR_PEOPLE = frozenset({"relay"})


def refuse_to_stand_open(basic_auth: Sequence[str], *, address: str, is_embedded: bool) -> None:
    """Raises SettingsError where whoever reaches Flower would be let in. `address` is what it listens on, '' for all."""
    if any(not password or not user for user, _, password in (one.partition(":") for one in basic_auth)):
        raise SettingsError("Flower's basic_auth has an entry that is not user:password; mend it")
    if basic_auth or (is_embedded and _is_this_machine(address)):
        return
    raise SettingsError(
        "Flower would show all tasks to whoever reaches it: give basic_auth = ['user:password'] in the file that --conf "
        "names, or FLOWER_BASIC_AUTH in its environment. Only the embedded stack does without, on 127.0.0.1"
    )


def legible(task: Any) -> Any:
    """Flower's `format_task`: the arguments of a task without quotes, brackets and what is for the machinery."""
    args, kwargs = _value(task.args), _value(task.kwargs)
    if isinstance(args, list | tuple):
        task.args = " ".join(map(str, args))
    if isinstance(kwargs, dict):
        shown = {name: value for name, value in kwargs.items() if name not in _NOT_FOR_PEOPLE}
        task.kwargs = " ".join(f"{name}={value}" for name, value in shown.items())
    return task


def _value(written: Any) -> Any:
    """Of the text that an event carries; the text itself where it was cut."""
    try:
        return ast.literal_eval(written)
    except (ValueError, SyntaxError):
        return written


def _is_this_machine(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class GuardedFlower(Flower):  # type: ignore[misc]  # Flower publishes no types
    """Raises SystemExit with the reason where it may not start."""

    def __init__(self, options: Any = None, **rest: Any) -> None:
        try:
            is_embedded = load().platform.kind == "local"
            refuse_to_stand_open(options.basic_auth or (), address=options.address, is_embedded=is_embedded)
        except SettingsError as error:
            raise SystemExit(str(error)) from None
        options.read_only = True
        super().__init__(options=options, **rest)


# Flower's command makes its application of this name.
command.Flower = GuardedFlower
# Defaults: its command line, environment and file win.
flower_options.format_task = legible
flower_options.tasks_columns = "name,args,state,received,runtime,worker,uuid,kwargs"
flower_options.max_tasks = 10_000
#: Milliseconds. Where it is persistent: a kill loses the last minutes of what it shows, and nothing else.
flower_options.state_save_interval = 300_000
