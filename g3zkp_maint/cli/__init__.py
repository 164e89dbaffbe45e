"""The command `g3zkp-maint`.

Each command's module is imported when it is called and not before: `g3zkp-maint --help` needs none of them, and a broken
dependency of one command does not take the others down. Errors end here, in one place (`Root.main`, cli/failure.py).
"""

from __future__ import annotations

import gc
import sys
from functools import partial
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from g3zkp_maint import __version__


class Command(NamedTuple):
    """Where a command is, as `module:attribute` (a Typer, or a function), and its line in `--help`."""

    target: str
    help: str


COMMANDS = {
    "up": Command("g3zkp_maint.cli.up:up", "Start everything on this machine; Ctrl-C stops it."),
    "down": Command("g3zkp_maint.cli.up:down", "Stop what `up` started."),
    "status": Command("g3zkp_maint.cli.up:status", "What of it runs, and where."),
    "demo": Command("g3zkp_maint.cli.demo:demo", "Back up, destroy, restore and prove, on its own data."),
    "backup": Command("g3zkp_maint.cli.backup:backup_app", "Take, list, verify and restore backups."),
    "recovery": Command("g3zkp_maint.cli.recovery:recovery_app", "The keys that open backups: make, change, account."),
    "keys": Command("g3zkp_maint.cli.keys:keys_app", "The messenger's keys: how old, what was, rotate."),
    "cleanup": Command("g3zkp_maint.cli.cleanup:cleanup_app", "Delete what has expired."),
    "calendar": Command("g3zkp_maint.cli.calendar:calendar_app", "What is due when."),
    "windows": Command("g3zkp_maint.cli.windows:windows_app", "When maintenance may disturb people."),
    "runs": Command("g3zkp_maint.cli.runs:runs_app", "What ran, how it ended, and why."),
    "why": Command("g3zkp_maint.cli.why:why_app", "Why a run did or did not happen."),
    "report": Command("g3zkp_maint.cli.report:report_app", "What each week held."),
    "leases": Command("g3zkp_maint.cli.runs:leases_app", "Who holds what at this moment."),
    "exporter": Command("g3zkp_maint.cli.exporter:exporter", "Metrics for Prometheus, until it is stopped."),
    "health": Command("g3zkp_maint.cli.health:health_app", "How the messenger is, asked here and now."),
    "audit": Command("g3zkp_maint.cli.audit:audit_app", "What is not as it should be: the security scan."),
    "certificates": Command("g3zkp_maint.cli.certificates:certificates_app", "How long certificates last; renewals."),
    "dependencies": Command("g3zkp_maint.cli.dependencies:dependencies_app", "Newer versions, and their windows."),
    "benchmark": Command("g3zkp_maint.cli.performance:benchmark_app", "How fast the messenger is, and was."),
    "probe": Command("g3zkp_maint.cli.probe:probe_app", "Does this worker, does this beat do its work?"),
    "config": Command("g3zkp_maint.cli.config:config_app", "The settings in force, and what is wrong with them."),
}

_EPILOG = """\
\b
Examples:
  g3zkp-maint up                          everything on this machine
  g3zkp-maint backup --help               take a backup, restore it
  g3zkp-maint calendar show --days 7      what the next week holds
  g3zkp-maint runs --since 24h --failed   what went wrong since yesterday
  g3zkp-maint config check                are the settings right?

\b
Exit codes:
  0 done   1 failed for good   2 wrong arguments or settings
  3 done but for what the result says   75 failed for now: try again
"""


class Root(TyperGroup):
    """The group of all commands. Lists them from COMMANDS, imports the one that is called."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, command in COMMANDS.items():
            self.add_command(TyperCommand(name, help=command.help, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else found, rest

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Runs the command and ends the process with its exit code."""
        argv = lifted(sys.argv[1:] if args is None else list(args))
        run = partial(super().main, argv, prog_name, **extra, standalone_mode=False)
        from g3zkp_maint.cli.failure import guarded  # noqa: PLC0415 -- what --help does not need is imported late

        return guarded(run, argv)


def load(name: str) -> Any:
    """The command of that name, imported and ready to be run."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    found = getattr(import_module(module), attribute)
    gc.freeze()  # what is imported stays to the end: walked again and again, and at the exit, it costs 0.1 s
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name)(found)
        found = single
    found.rich_markup_mode = None  # one look for all, and examples keep their lines
    # Only the root offers to install completion; the public way is an argument that each sub-app would have to repeat.
    found._add_completion = False  # noqa: SLF001
    command = typer.main.get_command(found)
    command.name = name
    return command


def lifted(argv: list[str]) -> list[str]:
    """`--debug` holds for every command and may stand anywhere before a `--`: it is moved to the front."""
    end = argv.index("--") if "--" in argv else len(argv)
    rest = [arg for arg in argv[:end] if arg != "--debug"]
    return [*(["--debug"] if len(rest) < end else []), *rest, *argv[end:]]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"g3zkp-maint {__version__}")
        raise typer.Exit


app = typer.Typer(cls=Root, rich_markup_mode=None, pretty_exceptions_enable=False, invoke_without_command=True)


@app.callback(epilog=_EPILOG)
def root(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs (anywhere).")] = False,
    version: Annotated[  # noqa: ARG001 -- acts in its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keeps a G3ZKP messenger alive: backups, restores, key rotation, cleanup and health, on a calendar."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        return
    from g3zkp_maint import logs  # noqa: PLC0415 -- what --help does not need is imported late

    logs.configure(level="debug" if debug else "warning", json_lines=not sys.stderr.isatty())


def main() -> None:
    """The entry point."""
    app(prog_name="g3zkp-maint")
