"""`g3zkp-maint calendar`: what is due when, with precedence resolved, and the same as iCalendar."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from g3zkp_maint.calendar import ics
from g3zkp_maint.calendar.cadence import EveryMinutes, EverySeconds
from g3zkp_maint.calendar.catalog import Catalog, load_catalog
from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.calendar.firing import Firing, firings
from g3zkp_maint.cli.whole_file import replace_file
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.errors import BadInput
from g3zkp_maint.settings import load

calendar_app = typer.Typer(no_args_is_help=True, help="The maintenance calendar (UTC).")

#: How far EXDATEs reach where a rule cannot do without them.
RULE_HORIZON = timedelta(days=400)

Days = Annotated[int, typer.Option("--days", min=1, max=36525, help="How many days.")]
From = Annotated[str | None, typer.Option("--from", metavar="DATE", help="First day, 2026-11-25; default: now on.")]
Upkeep = Annotated[bool, typer.Option("--upkeep", help="Also what the product does for itself.")]


@calendar_app.command()
def show(
    days: Days = 7,
    from_: From = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    upkeep: Upkeep = False,
) -> None:
    """Every firing; one that another entry takes is shown as superseded, with by what.

    On a terminal a table, in which what fires several times a day has one row a day; elsewhere a line a firing.
    """
    catalog = load_catalog(load().beat.calendar)
    start = _start(from_)
    end = start + timedelta(days=days)
    chosen = firings(catalog.everything, start, end, only=_shown(catalog, upkeep=upkeep))
    console = Console()
    if as_json:
        _print_lines(json.dumps(_as_json(one)) for one in chosen)
    elif console.is_terminal:
        console.print(_table(chosen))
    else:
        _print_lines(_line(one) for one in chosen)


@calendar_app.command("ics")
def write_ics(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=36525, help="One event a firing for so many days, no rules.")
    ] = None,
    from_: From = None,
    frequent: Annotated[bool, typer.Option("--frequent", help="Also what fires several times a day.")] = False,
    upkeep: Upkeep = False,
) -> None:
    """Write the calendar as iCalendar: recurring events, or with --days one event for each firing."""
    catalog = load_catalog(load().beat.calendar)
    start = _start(from_)
    entries = [one for one in _shown(catalog, upkeep=upkeep) if frequent or not _is_frequent(one)]
    if days is None:
        content = ics.by_rule(catalog.everything, entries, start=start, end=start + RULE_HORIZON)
    else:
        content = ics.by_slot(catalog.everything, entries, start=start, end=start + timedelta(days=days))
    replace_file(output, content)
    typer.echo(f"wrote {output}")


def _shown(catalog: Catalog, *, upkeep: bool) -> tuple[CalendarEntry, ...]:
    return catalog.everything if upkeep else catalog.maintenance


def _start(text: str | None) -> datetime:
    if text is None:
        return SystemClock().now().replace(microsecond=0)
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadInput(f"--from {text!r} is no date; write it as 2026-11-25") from error


def _is_frequent(entry: CalendarEntry) -> bool:
    return isinstance(entry.cadence, EveryMinutes | EverySeconds)


def _print_lines(lines: Iterable[str]) -> None:
    sys.stdout.writelines(line + "\n" for line in lines)


def _line(one: Firing) -> str:
    note = f"  superseded by {one.superseded_by.name}" if one.superseded_by else ""
    return f"{one.entry.slot_text(one.slot)}  {one.slot:%a}  {one.entry.name:<20} {_call(one.entry)}{note}"


def _as_json(one: Firing) -> dict[str, Any]:
    return {
        "slot": one.entry.slot_text(one.slot),
        "entry": one.entry.name,
        "task": one.entry.task,
        "queue": one.entry.queue,
        "args": list(one.entry.args),
        "superseded_by": one.superseded_by.name if one.superseded_by else None,
    }


def _table(chosen: Iterable[Firing]) -> Table:
    table = Table("day", "UTC", "entry", "task", "queue", "", title="Maintenance calendar")
    for day, of_day in groupby(chosen, key=lambda one: one.slot.date()):
        for position, row in enumerate(_rows_of_day(list(of_day))):
            table.add_row("" if position else f"{day:%a %Y-%m-%d}", *row)
        table.add_section()
    return table


def _rows_of_day(of_day: list[Firing]) -> Iterator[tuple[str, ...]]:
    frequent = [one for one in of_day if _is_frequent(one.entry)]
    for name in dict.fromkeys(one.entry.name for one in frequent):
        yield _row_of_many([one for one in frequent if one.entry.name == name])
    for one in of_day:
        if not _is_frequent(one.entry):
            note = f"superseded by {one.superseded_by.name}" if one.superseded_by else one.entry.why
            style = "[dim]" if one.superseded_by else ""
            yield f"{one.slot:%H:%M}", style + one.entry.name, _call(one.entry), one.entry.queue, style + note


def _row_of_many(of_entry: list[Firing]) -> tuple[str, ...]:
    entry = of_entry[0].entry
    lost = sum(one.superseded_by is not None for one in of_entry)
    note = f"{len(of_entry)} times" + (f", {lost} of them superseded" if lost else "")
    return str(entry.cadence), entry.name, _call(entry), entry.queue, note


def _call(entry: CalendarEntry) -> str:
    return " ".join([entry.task, *map(str, entry.args)])
