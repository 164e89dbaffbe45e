"""`g3zkp-maint probe`: does this worker, does this beat do its work? For Kubernetes and other supervisors."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from g3zkp_maint.cli.output import say
from g3zkp_maint.errors import CoordinationUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_EPILOG = """\
\b
Exit codes: 0 it is there, 75 it is not, or Redis cannot be asked.
For a liveness probe, --alive: starting a process again does not bring Redis back.
"""

probe_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="Does this worker, does this beat do its work?")

Within = Annotated[float, typer.Option("--within", metavar="SECONDS", help="Longer silence is absence.")]
Alive = Annotated[bool, typer.Option("--alive", help="0 also where Redis is away: then nothing is known.")]


@probe_app.command()
def worker(
    queue: Annotated[str, typer.Option("--queue", metavar="QUEUE", help="From which it takes tasks.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Else QUEUE@HOST, of this host.")] = None,
    within: Within = 45,
    alive: Alive = False,
) -> None:
    """Whether a worker takes tasks from its queue."""
    # What --help does not need is imported late; and no more than this: a probe is run every few seconds, in every pod.
    from g3zkp_maint.coordination.presence import Presence  # noqa: PLC0415
    from g3zkp_maint.operations import probe  # noqa: PLC0415

    node = name or f"{queue}@{socket.gethostname()}"
    _answer(lambda client: probe.worker(Presence(client), queue, node, within_seconds=within), alive=alive)


@probe_app.command()
def beat(within: Within = 45, alive: Alive = False) -> None:
    """Whether this host's beat leads or stands by, and has published all that was due."""
    from g3zkp_maint.coordination.dispatch import DispatchLedger  # noqa: PLC0415
    from g3zkp_maint.coordination.presence import Presence  # noqa: PLC0415
    from g3zkp_maint.operations import probe  # noqa: PLC0415

    host = socket.gethostname()
    _answer(
        lambda client: probe.beat(Presence(client), DispatchLedger(client), host, within_seconds=within), alive=alive
    )


def _answer(ask: Callable[[Any], str], *, alive: bool) -> None:
    """`ask` is given a client of Redis."""
    from g3zkp_maint.coordination.connection import connect  # noqa: PLC0415
    from g3zkp_maint.settings import load  # noqa: PLC0415

    try:
        say(ask(connect(load().redis.url.get_secret_value())))
    except CoordinationUnavailable as error:
        if not alive:
            raise
        say(f"nothing is known: {error}")
