"""`g3zkp-maint report`: the weekly reports, those in the store and one for here and now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from g3zkp_maint.cli.output import AsJson, human_bytes, print_json, print_table, say

if TYPE_CHECKING:
    from g3zkp_maint.bootstrap import Services
    from g3zkp_maint.reports.facts import WeekFacts
    from g3zkp_maint.reports.week import Week

_EPILOG = """\
\b
Examples:
  g3zkp-maint report show                          the newest, in a few lines
  g3zkp-maint report show --output week.html       its page, for a browser
  g3zkp-maint report make --week 2026-W47          one that was not made
  g3zkp-maint report make --output now.html        this week so far, kept nowhere else
"""

report_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="What each week held.")

WeekOption = Annotated[str | None, typer.Option("--week", metavar="WEEK", help="As 2026-W47.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page to this file.")]


@report_app.command()
def make(week: WeekOption = None, output: Output = None, as_json: AsJson = False) -> None:
    """Make the report of a week (the last one) and keep it in the store; with --output write it to a file alone, also of
    a week that is not over (this one)."""
    from g3zkp_maint.operations import report as operations  # noqa: PLC0415 -- what --help does not need is imported late
    from g3zkp_maint.reports.shelf import page_key  # noqa: PLC0415

    services = _services()
    if output is not None:
        facts = operations.facts_of(services, _chosen(services, week, back=0))
        _write(output, facts)
        _tell(facts, f"wrote {output}", as_json=as_json)
        return
    chosen = _chosen(services, week, back=1)
    facts, is_new = operations.make(services, chosen)
    where = page_key(chosen)
    _tell(facts, f"kept as {where}" if is_new else f"was there already: {where}", as_json=as_json)


@report_app.command("list")
def list_reports(as_json: AsJson = False) -> None:
    """The reports in the store, newest first."""
    from g3zkp_maint.reports import shelf  # noqa: PLC0415

    found = shelf.reports(_services().primary_repository)
    if as_json:
        print_json([{"week": str(one.week), "key": one.key, "bytes": one.size, "stored": one.stored} for one in found])
    elif found:
        rows = [(one.week, one.stored, human_bytes(one.size), one.key) for one in found]
        print_table(("week", "stored", "size", "key"), rows, right={"size"})
    else:
        say("there is no report in the store; one is made each Monday, or by: g3zkp-maint report make")


@report_app.command()
def show(week: WeekOption = None, output: Output = None, as_json: AsJson = False) -> None:
    """A report of the store (the newest), in a few lines; its facts with --json, its page with --output."""
    from g3zkp_maint.cli.whole_file import replace_file  # noqa: PLC0415
    from g3zkp_maint.errors import BadInput  # noqa: PLC0415
    from g3zkp_maint.reports import shelf  # noqa: PLC0415

    repository = _services().primary_repository
    chosen = _parsed(week) if week else next((one.week for one in shelf.reports(repository)), None)
    facts = shelf.read_facts(repository, chosen) if chosen else None
    if chosen is None or facts is None:
        raise BadInput(f"there is no report{f' of {chosen}' if chosen else ''} in the store; `report list` shows them")
    if output is not None:
        replace_file(output, shelf.read_page(repository, chosen))
    _tell(facts, f"wrote {output}" if output else f"its page: {shelf.page_key(chosen)}", as_json=as_json)


def _services() -> Services:
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415 -- what --help does not need is imported late

    return Services()


def _chosen(services: Services, week: str | None, *, back: int) -> Week:
    from g3zkp_maint.reports.week import Week  # noqa: PLC0415

    return _parsed(week) if week else Week.of(services.clock.now()).back(back)


def _parsed(week: str) -> Week:
    from g3zkp_maint.reports.week import Week  # noqa: PLC0415

    return Week.parse(week)


def _write(path: Path, facts: WeekFacts) -> None:
    from g3zkp_maint.cli.whole_file import replace_file  # noqa: PLC0415
    from g3zkp_maint.reports.page import page  # noqa: PLC0415

    replace_file(path, page(facts).encode())


def _tell(facts: WeekFacts, where: str, *, as_json: bool) -> None:
    from g3zkp_maint.reports.summary import summary  # noqa: PLC0415

    if as_json:
        print_json(facts.model_dump(mode="json"))
        return
    for line in summary(facts):
        say(line)
    say(where)
