"""`g3zkp-maint runs` and `leases`: what ran and how it ended, from the journal; who holds what at this moment."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli.output import AsJson, human_bytes, human_seconds, print_json, print_table, say
from g3zkp_maint.cli.run_shown import print_run
from g3zkp_maint.cli.since import moment
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination import RunState, connect
from g3zkp_maint.coordination.journal import Journal, JournalEvent, JournalRecord
from g3zkp_maint.errors import BadInput, ConfirmationRequired
from g3zkp_maint.history import SENT, RunLine, run_lines
from g3zkp_maint.run_tree import run_tree
from g3zkp_maint.settings import load

_EPILOG = """\
\b
Examples:
  g3zkp-maint runs                          the last seven days, newest first
  g3zkp-maint runs --since 24h --failed     what went wrong since yesterday
  g3zkp-maint runs --task backup.run        the backups
  g3zkp-maint runs show RUN                 each step of one run
  g3zkp-maint runs reset TASK SLOT          let one that failed be tried again, with all its attempts
"""

_LEASES_EPILOG = """\
\b
Examples:
  g3zkp-maint leases                        who holds what
  g3zkp-maint leases break data --yes-i-mean data
"""

runs_app = typer.Typer(
    invoke_without_command=True,
    subcommand_metavar="[show RUN | reset TASK SLOT]",
    epilog=_EPILOG,
    help="What ran, and how it ended.",
)


@runs_app.callback()
def runs(
    ctx: typer.Context,
    since: Annotated[str, typer.Option("--since", metavar="WHEN", help="24h, 7d, 2026-11-25, …")] = "7d",
    task: Annotated[str | None, typer.Option("--task", help="Only of this task, as backup.run.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed or is partial.")] = False,
    as_json: AsJson = False,
) -> None:
    """What ran, newest first, and how it ended."""
    if ctx.invoked_subcommand is not None:
        return
    start = moment(since, now=SystemClock().now())
    lines = [line for line in run_lines(_journal().read(start, task=task)) if line.is_failed or not failed]
    lines.reverse()
    if as_json:
        print_json([dataclasses.asdict(line) for line in lines])
    elif lines:
        print_table(
            ("run", "task", "slot", "state", "outcome", "started", "took", "bytes", "attempts", "why"),
            [_row(line) for line in lines],
            right={"took", "bytes", "attempts"},
        )
    else:
        say(f"no {'failed ' if failed else ''}runs since {start:%Y-%m-%d %H:%M}Z")


@runs_app.command()
def show(run: Annotated[str, typer.Argument(help="The run, or how it begins.")], as_json: AsJson = False) -> None:
    """One run as a tree: its starts, the steps of each, how long they took and what they came to."""
    records = _records(run)
    (line,) = run_lines(records)
    tree = run_tree(record.event for record in records)
    if as_json:
        told = [{"number": record.number, **dataclasses.asdict(record.event)} for record in records]
        print_json({**dataclasses.asdict(line), "starts": [one.as_dict() for one in tree], "records": told})
    else:
        print_run(line, tree)


@runs_app.command()
def reset(
    task: Annotated[str, typer.Argument(metavar="TASK", help="As `runs` shows it: backup.run.")],
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="As `runs --json` shows it.")],
) -> None:
    """Let a run that failed or gave way be tried again, with all its attempts. It finds what it had done."""
    services = Services()
    record = services.runs.get(task, slot)
    if record is not None and record.state not in {RunState.FAILED, RunState.SUPERSEDED}:
        raise BadInput(f"{record} is {record.state}: only a run that failed or was superseded is reset")
    fresh = services.runs.reset(task, slot, for_reaper=True)
    services.journal.write(JournalEvent("reset", fresh.trace, task, slot, owner="operator"))
    say(
        f"{fresh.task} {fresh.slot} is to be started again; a fleet takes it up within "
        f"{services.settings.coordination.reap_seconds:g} s (`g3zkp-maint runs` tells)"
    )


leases_app = typer.Typer(
    invoke_without_command=True,
    subcommand_metavar="[list | break RESOURCE]",
    epilog=_LEASES_EPILOG,
    help="Who holds what at this moment.",
)


@leases_app.callback()
def leases(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Who holds what at this moment, and until when unless it is renewed."""
    if ctx.invoked_subcommand is None:
        list_leases(as_json)


@leases_app.command("list")
def list_leases(as_json: AsJson = False) -> None:
    """Who holds what at this moment, and until when unless it is renewed."""
    holdings = Services().leases.holders()
    if as_json:
        print_json([dataclasses.asdict(holding) for holding in holdings])
    elif holdings:
        columns = ("resource", "mode", "owner", "since", "expires", "token")
        print_table(columns, [[getattr(holding, name) for name in columns] for holding in holdings], right={"token"})
    else:
        say("nothing is held")


@leases_app.command("break")
def break_lease(
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="As `leases` shows it: data.")],
    yes_i_mean: Annotated[
        str | None, typer.Option("--yes-i-mean", metavar="RESOURCE", help="The resource again: its holders are gone.")
    ] = None,
) -> None:
    """Take a lease from holders that are surely gone. One that lives stops before its next irreversible step; what it
    is at in that moment it may still end."""
    if yes_i_mean != resource:
        raise ConfirmationRequired(
            f"breaking {resource} lets others at it while its holder may live; if that is surely gone, say it again: "
            f"g3zkp-maint leases break {resource} --yes-i-mean {resource}"
        )
    count = Services().leases.break_(resource)
    say(f"{count} holder{'' if count == 1 else 's'} of {resource} removed" if count else f"nobody held {resource}")


#: Of a run's name, enough to tell it from others and to be given to `runs show`; of a slot, what is no calendar time.
_SHORT, _SLOT = 12, 28


def _journal() -> Journal:
    settings = load()
    client = connect(settings.redis.url.get_secret_value())
    return Journal(client, clock=SystemClock(), cap=settings.coordination.journal_records)


def _records(run: str) -> list[JournalRecord]:
    """The records of the one run whose name is `run`, or begins so. Raises BadInput when none does, or several do."""
    wanted = _journal().read(only=lambda fields: fields["run"].startswith(run) and fields["event"] != SENT)
    found = list(wanted)
    names = sorted({record.event.run for record in found})
    chosen = run if run in names else names[0] if len(names) == 1 else None
    if chosen is None:
        hint = f"it may be {', '.join(names[:5])}" if names else "`g3zkp-maint runs --since 14d` lists them"
        raise BadInput(f"no single run is named {run!r}; {hint}")
    return [record for record in found if record.event.run == chosen]


def _row(line: RunLine) -> tuple[object, ...]:
    return (
        line.run[:_SHORT],
        line.task,
        line.slot if len(line.slot) <= _SLOT else f"{line.slot[: _SLOT - 1]}…",
        line.state,
        line.outcome or None,
        line.started,
        human_seconds(line.seconds),
        human_bytes(line.bytes) if line.bytes else None,
        line.attempts,
        line.message or None,
    )
