"""`g3zkp-maint runs` and `leases`: what ran and how it ended, from the journal; who holds what at this moment."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from g3zkp_maint.cli.output import AsJson, human_bytes, human_seconds, print_json, print_table, say
from g3zkp_maint.cli.since import moment
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination import Leases, connect
from g3zkp_maint.coordination.journal import Journal, JournalRecord
from g3zkp_maint.errors import BadInput
from g3zkp_maint.history import RunLine, run_lines
from g3zkp_maint.settings import load

_EPILOG = """\
\b
Examples:
  g3zkp-maint runs                          the last seven days, newest first
  g3zkp-maint runs --since 24h --failed     what went wrong since yesterday
  g3zkp-maint runs --task backup.run        the backups
  g3zkp-maint runs show RUN                 each step of one run
"""

runs_app = typer.Typer(
    invoke_without_command=True, subcommand_metavar="[show RUN]", epilog=_EPILOG, help="What ran, and how it ended."
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
    """Each step of one run, in order."""
    records = _records(run)
    if as_json:
        print_json([{"number": record.number, **dataclasses.asdict(record.event)} for record in records])
        return
    say(records[0].event.run)
    print_table(
        ("at", "step", "event", "outcome", "bytes", "attempt", "owner", "detail"),
        [_event_row(record) for record in records],
        right={"bytes", "attempt"},
    )


def leases(as_json: AsJson = False) -> None:
    """Who holds what at this moment, and until when unless it is renewed."""
    settings = load()
    holdings = Leases(
        connect(settings.redis.url.get_secret_value()),
        clock=SystemClock(),
        ttl_seconds=settings.coordination.lease_ttl_seconds,
        renew_seconds=settings.coordination.lease_renew_seconds,
    ).holders()
    if as_json:
        print_json([dataclasses.asdict(holding) for holding in holdings])
    elif holdings:
        columns = ("resource", "mode", "owner", "since", "expires", "token")
        print_table(columns, [[getattr(holding, name) for name in columns] for holding in holdings], right={"token"})
    else:
        say("nothing is held")


#: Of a run's name, enough to tell it from others and to be given to `runs show`; of a slot, what is no calendar time.
_SHORT, _SLOT = 12, 28


def _journal() -> Journal:
    settings = load()
    client = connect(settings.redis.url.get_secret_value())
    return Journal(client, clock=SystemClock(), cap=settings.coordination.journal_records)


def _records(run: str) -> list[JournalRecord]:
    """The records of the one run whose name is `run`, or begins so. Raises BadInput when none does, or several do."""
    found = [record for record in _journal().read() if record.event.run.startswith(run)]
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


def _event_row(record: JournalRecord) -> tuple[object, ...]:
    event = record.event
    detail = " ".join(f"{name}={value}" for name, value in event.detail.items())
    moved = None if event.bytes is None else human_bytes(event.bytes)
    return (event.at, event.step or None, event.event, event.outcome or None, moved, event.attempt, event.owner, detail)
