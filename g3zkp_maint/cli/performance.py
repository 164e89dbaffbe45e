"""`g3zkp-maint benchmark`: how fast the messenger is now, and was in the weeks before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from g3zkp_maint.cli.output import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    from g3zkp_maint.performance.comparison import Comparison
    from g3zkp_maint.performance.figure import Measurement

_EPILOG = """\
\b
Examples:
  g3zkp-maint benchmark run             measure now, and compare with the weekly ones
  g3zkp-maint benchmark run --json      the same, for machines
  g3zkp-maint benchmark history         each weekly one, a line each

\b
The load is bounded (performance.requests, performance.seconds). A run by hand is not kept, and tells nobody.

\b
Exit codes: 0 measured, 3 it is worse than before, 75 not now: the messenger is not well, or a window is open.
"""

benchmark_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="How fast the messenger is, and was.")


@benchmark_app.command(epilog=_EPILOG)
def run(
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Even where the messenger is not well, or a window is open.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measures here and now, and compares with the weekly ones before."""
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415 -- what --help does not need is imported late
    from g3zkp_maint.cli.failure import PARTIAL  # noqa: PLC0415
    from g3zkp_maint.errors import LoadFailed  # noqa: PLC0415
    from g3zkp_maint.operations import performance as operations  # noqa: PLC0415

    services = Services()
    reason = "" if anyway else operations.obstacle(services)
    if reason:
        raise LoadFailed(f"{reason}; nothing was measured (--anyway measures all the same)")
    sys.stderr.write("measuring: about half a minute\n")
    measured = operations.take(services)
    compared = operations.compare(services, measured)
    worse = operations.findings(services, compared)
    if as_json:
        print_json({**measured.as_dict(), "worse": [one.as_dict() for one in worse]})
    else:
        _print(measured, compared)
        for one in worse:
            say(f"worse: {one.object}: {one.evidence}")
    raise typer.Exit(PARTIAL if worse else 0)


@benchmark_app.command("history")
def show_history(as_json: AsJson = False) -> None:
    """The weekly ones, oldest first."""
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415
    from g3zkp_maint.operations.performance import earlier  # noqa: PLC0415
    from g3zkp_maint.performance.comparison import shown  # noqa: PLC0415

    runs = earlier(Services())
    if as_json:
        print_json([one.as_dict() for one in runs])
        return
    if not runs:
        say("no benchmark has run yet; the calendar has one each week (`g3zkp-maint calendar show`)")
        return
    names = list(dict.fromkeys(figure.name for one in runs for figure in one.figures))
    rows = []
    for one in runs:
        by_name = {figure.name: shown(figure.value, figure.unit) for figure in one.figures}
        rows.append([f"{one.at:%Y-%m-%d %H:%MZ}", *(by_name.get(name, "-") for name in names)])
    print_table(("at", *names), rows, right=names)


def _print(measured: Measurement, compared: tuple[Comparison, ...]) -> None:
    from g3zkp_maint.performance.comparison import shown  # noqa: PLC0415

    before = {one.figure.name: one for one in compared}
    rows = []
    for figure in measured.figures:
        one = before.get(figure.name)
        beside = (shown(one.median, figure.unit), f"{-one.worse:+.0%}") if one else ("-", "-")
        rows.append((figure.name, shown(figure.value, figure.unit), *beside))
    print_table(("figure", "now", "median before", "better"), rows, right=("now", "median before", "better"))
    for lack in measured.lacks:
        say(f"not measured: {lack.what}: {lack.why}")
