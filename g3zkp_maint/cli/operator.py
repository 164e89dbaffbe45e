"""What runs that an operator starts have in common: who, for which slot, and what Ctrl-C means."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from g3zkp_maint.cli.output import printable
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import PermanentError

if TYPE_CHECKING:
    from g3zkp_maint.bootstrap import Services

_T = TypeVar("_T")


def owner() -> str:
    """Who is at it, for people."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}:{os.getpid()}"


def manual_slot(now: datetime) -> str:
    """A slot for what an operator starts. Down to microseconds: two in one second are two runs."""
    return f"manual-{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"


def signature(task: str, *args: Any, **kwargs: Any) -> str:
    """The message by which a fleet takes up this run where the operator's process dies. In the shape that Celery gives
    to signatures, which is what run records hold; a test has Celery read it."""
    call = {"task": task, "args": args, "kwargs": kwargs, "options": {}, "subtask_type": None, "immutable": False}
    return json.dumps(call)


def tell(text: str) -> None:
    """A line at once on stderr: it must be there when the work that follows is killed."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def withdraw(services: Services, task: str, slot: str, wants: Iterable[str]) -> None:
    """Takes back a run of which nothing was done: the operator is told that it has to wait. If it stayed on record as
    waiting, a fleet would carry it out later, when nobody thinks of it."""
    services.leases.withdraw(tuple(wants), owner=f"{task}:{slot}")
    services.conductor.supersede(task, slot, by="the operator, who was told to try again")


def interruptible(body: Callable[[Held], _T], hint: str) -> Callable[[Held], _T]:
    """`body`, whose Ctrl-C is an error of the product: the run's record and journal tell it, its leases go back."""

    def work(held: Held) -> _T:
        try:
            return body(held)
        except KeyboardInterrupt:
            raise PermanentError(f"stopped by Ctrl-C before the end; {hint}") from None

    return work
