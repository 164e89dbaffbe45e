"""`g3zkp-maint health`: how the messenger is, asked here and now, without Redis and without fleets."""

from __future__ import annotations

from typing import Annotated

import typer

from g3zkp_maint.cli.output import AsJson, print_json, say

_EPILOG = """\
\b
Exit codes: 0 it is well, 1 it is not, 75 it cannot be asked now.
"""

health_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="How the messenger is.")


@health_app.callback()
def health() -> None:
    """How the messenger is, asked here and now, without Redis and without fleets."""


@health_app.command(epilog=_EPILOG)
def check(
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Of each try of each path.")] = 5,
    tries: Annotated[int, typer.Option("--tries", min=1, help="Of each path.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Asks the messenger's address, and each instance that there should be."""
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415 -- what --help does not need is imported late
    from g3zkp_maint.health.instances import check_all  # noqa: PLC0415

    services = Services()
    report = check_all(services.platform, timeout_seconds=timeout, tries=tries, clock=services.clock)
    if as_json:
        print_json(report.as_dict())
    elif report.is_healthy:
        say(f"{report.service.url} and {len(report.instances)} of {report.desired} instances are well")
    else:
        for problem in report.problems:
            say(problem)
    raise typer.Exit(0 if report.is_healthy else 1)
