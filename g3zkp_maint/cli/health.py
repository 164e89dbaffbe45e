"""`g3zkp-maint health`: how the messenger is, asked here and now, without Redis and without fleets."""

from __future__ import annotations

from typing import Annotated

import typer

from g3zkp_maint.cli.output import AsJson, print_json, say

_EPILOG = """\
\b
Examples:
  g3zkp-maint health check                      once, each instance too
  g3zkp-maint health --watch                    as it goes; Ctrl-C ends it
  g3zkp-maint health --watch --json --looks 3   three lines of JSON

\b
Exit codes: 0 it is well, 1 it is not, 75 it cannot be asked now.
"""

health_app = typer.Typer(epilog=_EPILOG, help="How the messenger is.")


@health_app.callback(invoke_without_command=True, epilog=_EPILOG)
def health(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Show it as it goes, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.1, metavar="SECONDS", help="Between two looks.")] = 5,
    looks: Annotated[int | None, typer.Option("--looks", min=1, help="End after so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """How the messenger is, asked here and now, without Redis and without fleets."""
    if ctx.invoked_subcommand is not None:
        return
    if not watch:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415 -- what --help does not need is imported late
    from g3zkp_maint.cli.watching import watch as watched  # noqa: PLC0415
    from g3zkp_maint.health.state import Level  # noqa: PLC0415

    level = watched(Services(), every_seconds=every, looks=looks, as_json=as_json)
    raise typer.Exit(0 if level is Level.HEALTHY else 1)


@health_app.command(epilog=_EPILOG)
def check(
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="Of each try of each path; else health.timeout_seconds."),
    ] = None,
    tries: Annotated[int | None, typer.Option("--tries", min=1, help="Of each path; else health.tries.")] = None,
    as_json: AsJson = False,
) -> None:
    """Asks the messenger's address, and each instance that there should be."""
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415 -- what --help does not need is imported late
    from g3zkp_maint.health.instances import check_all  # noqa: PLC0415

    services = Services()
    settings = services.settings.health
    report = check_all(
        services.platform,
        timeout_seconds=settings.timeout_seconds if timeout is None else timeout,
        tries=settings.tries if tries is None else tries,
        ask_instances=settings.ask_instances,
        clock=services.clock,
    )
    if as_json:
        print_json(report.as_dict())
    elif report.is_healthy:
        say(f"{report.service.url} and {len(report.instances)} of {report.desired} instances are well")
    else:
        for problem in report.problems:
            say(problem)
    raise typer.Exit(0 if report.is_healthy else 1)
