"""`g3zkp-maint windows`: what is planned, plan one, open one at once, close one, and all of it as iCalendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli import operator
from g3zkp_maint.cli.output import AsJson, print_json, print_table, say
from g3zkp_maint.cli.since import moment as parse_moment
from g3zkp_maint.cli.whole_file import replace_file
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.errors import BadInput, TemporaryError
from g3zkp_maint.operations import windows as operations
from g3zkp_maint.windows.kind import TERMS
from g3zkp_maint.windows.plan import Occurrence
from g3zkp_maint.windows.proposal import Proposal, kind_of
from g3zkp_maint.windows.spoken import moment, shown, span
from g3zkp_maint.windows.window import Window

_EPILOG = """\
\b
Examples:
  g3zkp-maint windows list                                  what is open and to come, and what does not take place, and why
  g3zkp-maint windows plan major --at 2026-12-12T02:00 --minutes 90 --what "new version of the messenger" --dry-run
  g3zkp-maint windows open security --minutes 20 --emergency --reason "CVE-2026-1234 is being exploited"
  g3zkp-maint windows close weekly-20261129T0300 --reason "not needed this week"
  g3zkp-maint windows ics --output windows.ics

\b
Types, by the maintenance protocols:
  security        as needed   15 to 30 min   told 24 h ahead
  minor           weekly      30 min         told 48 h ahead
  major           monthly     1 to 2 h       told 1 week ahead
  infrastructure  quarterly   2 to 4 h       told 2 weeks ahead
Windows that recur are in the settings (windows.recurring). All times are UTC.
"""

windows_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="When maintenance may disturb people.")

Type = Annotated[str, typer.Argument(metavar="TYPE", help="security, minor, major or infrastructure.")]
What = Annotated[str, typer.Option("--what", metavar="TEXT", help="What is done; people are told.")]
Impact = Annotated[str, typer.Option("--impact", metavar="TEXT", help="What people will notice; they are told.")]
Emergency = Annotated[bool, typer.Option("--emergency", help="Without the usual notice; needs --reason.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; people are told, and it is kept.")]
Minutes = Annotated[int | None, typer.Option("--minutes", min=1, help="How long; by default as long as it may be.")]


@windows_app.command("list")
def show(as_json: AsJson = False) -> None:
    """Windows that are open and to come, two months ahead."""
    services = Services()
    found, now = operations.planned(services), services.clock.now()
    if as_json:
        print_json([one.as_dict(now) for one in found])
        return
    rows = [
        (one.window.id, one.window.kind, one.window.start, shown(one.window.length), _state(one, now), one.why)
        for one in found
    ]
    print_table(("window", "type", "start", "length", "state", "why"), rows)


@windows_app.command()
def plan(
    type: Type,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="When it begins, UTC: 2026-12-12T02:00.")],
    minutes: Minutes = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="When it ends, for --minutes.")] = None,
    what: What = "",
    impact: Impact = "",
    emergency: Emergency = False,
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show it, and plan nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Plan a window. People are told as far ahead as its type says."""
    services = Services()
    start = parse_moment(at, now=services.clock.now())
    if minutes is not None and until is not None:
        raise BadInput("give --minutes or --until, not both")
    length = timedelta(minutes=minutes) if minutes else TERMS[kind_of(type)].longest
    end = start + length if until is None else parse_moment(until, now=services.clock.now())
    wish = Proposal(kind_of(type), start, end, operator.owner(), what, impact, emergency, reason)
    window = operations.open_window(services, wish, dry_run=dry_run)
    _tell(services, window, "would be planned" if dry_run else "planned", as_json=as_json, dry_run=dry_run)


@windows_app.command("open")
def open_now(
    type: Type,
    minutes: Minutes = None,
    what: What = "",
    impact: Impact = "",
    emergency: Emergency = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Open a window at once. That leaves no time for a notice, so it is always an emergency, with a reason."""
    if not emergency:
        raise BadInput(
            "a window that opens at once gives no notice: add --emergency and --reason, or `windows plan` it for later"
        )
    services = Services()
    kind = kind_of(type)
    start = services.clock.now().astimezone(UTC).replace(second=0, microsecond=0)
    length = timedelta(minutes=minutes) if minutes else TERMS[kind].longest
    wish = Proposal(kind, start, start + length, operator.owner(), what, impact, emergency, reason)
    _tell(services, operations.open_window(services, wish), "opened", as_json=as_json)


@windows_app.command()
def close(
    id: Annotated[str, typer.Argument(metavar="WINDOW", help="As `windows list` names it.")],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Close a window that is open, or cancel one that is to come. Who was told of it is told of that."""
    services = Services()
    window = operations.close_window(services, id, why=reason, by=operator.owner())
    how = window.stop.how if window.stop else "closed"
    _tell(services, window, how, as_json=as_json)


@windows_app.command("ics")
def write_ics(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
) -> None:
    """Write the windows as iCalendar. A window keeps its UID, and each change of it raises its SEQUENCE."""
    replace_file(output, operations.feed(Services()))
    say(f"{output} written")


def _state(one: Occurrence, now: datetime) -> str:
    if one.is_open(now):
        return "open"
    if not one.takes_place:
        return one.window.verdict
    return "planned" if one.window.until > now else "closed"


def _tell(services: Services, window: Window, how: str, *, as_json: bool, dry_run: bool = False) -> None:
    """Prints it, and tells people at once. Where that fails the observe fleet does it within a quarter of an hour."""
    late = "" if dry_run else _tend(services, window)
    if as_json:
        print_json({**window.model_dump(mode="json"), "how": how, "told_later": late or None})
        return
    say(f"{how}: {window.kind} window {window.id}, {span(window.start, window.end)}")
    if window.stop is None and not window.emergency:
        say(f"people are told from {moment(window.notice_due)} on")
    if late:
        operator.tell(f"not all is told yet; the observe fleet goes on with it: {late}")


def _tend(services: Services, window: Window) -> str:
    slot = operator.manual_slot(services.clock.now())
    occasion = Occasion(operations.TASK, slot, operator.owner(), operator.signature(operations.TASK, slot=slot))
    work: Any = partial(operations.tend, services, only=window.id)
    try:
        services.conductor.perform(occasion, work)
    except TemporaryError as error:
        return str(error)
    return ""
