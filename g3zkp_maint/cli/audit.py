"""`g3zkp-maint audit`: what is not as it should be, found here and now; and what each check is about."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.cli.failure import PARTIAL
from g3zkp_maint.cli.output import AsJson, print_json, print_table, say
from g3zkp_maint.errors import BadInput, CoordinationUnavailable

if TYPE_CHECKING:
    from g3zkp_maint.audit.memory import Memory
    from g3zkp_maint.audit.report import Report
    from g3zkp_maint.bootstrap import Services

_EPILOG = """\
\b
Examples:
  g3zkp-maint audit run                                    all of it, as a table
  g3zkp-maint audit run --severity high                    what is critical or high
  g3zkp-maint audit run --whole                            all that the monthly audit looks at
  g3zkp-maint audit run --format sarif --output scan.sarif
  g3zkp-maint audit list                                   each check, and how bad its findings are
  g3zkp-maint audit explain rbac-keys-readers              what it looks at, why, and what to do

\b
It reads only, with the rights of whoever calls it, and compares with the last daily scan; what it finds is not kept.

\b
Exit codes: 0 no critical finding that is not waived, 3 there is one; others as everywhere.
"""

audit_app = typer.Typer(
    no_args_is_help=True, epilog=_EPILOG, help="What is not as it should be: security scan and audit."
)


class Format(StrEnum):
    """How a report is written."""

    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"
    HTML = "html"


@audit_app.command(epilog=_EPILOG)
def run(
    format: Annotated[Format, typer.Option("--format", "-f", help="How it is written.")] = Format.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; else stdout.")
    ] = None,
    severity: Annotated[
        Severity, typer.Option("--severity", "-s", help="Show what is as bad, or worse (table and html).")
    ] = Severity.LOW,
    whole: Annotated[
        bool, typer.Option("--whole", "-w", help="All that the monthly audit looks at; takes longer.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The security scan, here and now; with --whole the monthly audit."""
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415 -- what --help does not need is imported late
    from g3zkp_maint.operations.audit import examine  # noqa: PLC0415

    chosen = Format.JSON if as_json else format
    if chosen is Format.TABLE and output is not None:
        raise BadInput("a table is for the terminal; into a file goes --format json, sarif or html")
    services = Services()
    report = examine(services, _before(services, whole=whole), whole=whole)
    if chosen is Format.TABLE:
        _print(report, severity)
    else:
        _write(_rendered(report, chosen, severity, whole=whole), output)
    raise typer.Exit(0 if report.passed else PARTIAL)


@audit_app.command("list")
def list_checks(as_json: AsJson = False) -> None:
    """Each check: its id, how bad what it finds is, and what that is."""
    from g3zkp_maint.audit.registry import RULES  # noqa: PLC0415

    if as_json:
        print_json([{"id": rule.id, "severity": str(rule.severity), "title": rule.title} for rule in RULES])
        return
    print_table(("check", "severity", "finds"), [(rule.id, rule.severity, rule.title) for rule in RULES])


@audit_app.command()
def explain(
    check: Annotated[str, typer.Argument(metavar="ID", help="As `audit list` shows it.")], as_json: AsJson = False
) -> None:
    """What a check looks at, what may come of what it finds, and what to do."""
    from g3zkp_maint.audit.registry import rule  # noqa: PLC0415
    from g3zkp_maint.cli.facts import print_facts  # noqa: PLC0415

    found = rule(check)
    told = {
        "id": found.id,
        "severity": str(found.severity),
        "finds": found.title,
        "looks_at": found.looks_at,
        "why": found.why,
        "remedy": found.remedy,
    }
    print_json(told) if as_json else print_facts(told)


def _before(services: Services, *, whole: bool) -> Memory | None:
    """The scan needs no Redis to look at the rest: without it there is nothing to compare with, and that is told."""
    from g3zkp_maint.operations.audit import recall  # noqa: PLC0415

    try:
        return recall(services, whole=whole)
    except CoordinationUnavailable as error:
        sys.stderr.write(f"not compared with the last scan: {error}\n")
        return None


def _rendered(report: Report, format: Format, severity: Severity, *, whole: bool) -> str:
    if format is Format.JSON:
        return json.dumps(report.as_dict(), indent=2) + "\n"
    if format is Format.SARIF:
        from g3zkp_maint.audit import sarif  # noqa: PLC0415
        from g3zkp_maint.audit.registry import RULES  # noqa: PLC0415

        return json.dumps(sarif.document(report, RULES), indent=2) + "\n"
    from g3zkp_maint.audit.page import page  # noqa: PLC0415

    return page(report, severity, whole=whole)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    from g3zkp_maint.platforms.local_files import write_private  # noqa: PLC0415

    try:
        # What is open, and to whom, is nobody else's concern.
        write_private(output, text.encode())
    except OSError as error:
        raise BadInput(f"{output} cannot be written: {error.strerror}; name another file") from error


def _print(report: Report, severity: Severity) -> None:
    shown = report.at_least(severity)
    if shown:
        rows = [(one.severity, one.check, one.object, one.evidence, report.state_of(one)) for one in shown]
        print_table(("severity", "check", "object", "evidence", "state"), rows)
    for waived in report.waived:
        say(
            f"waived until {waived.waiver.until}: {waived.finding.check} {waived.finding.object}: {waived.waiver.reason}"
        )
    for one in report.comparison.gone if report.comparison else ():
        say(f"gone: {one.check} {one.object}")
    for lack in report.unseen:
        say(f"not looked at: {lack.what}: {lack.why}")
    for reader in report.readers or ():
        if not reader.is_expected:
            say(f"can read the messenger's keys: {reader.subject}: {'; '.join(reader.ways)}")
    say(_summary(report))


def _summary(report: Report) -> str:
    counts = ", ".join(f"{count} {severity}" for severity, count in report.counts.items())
    since = (
        f"; since {report.comparison.since:%Y-%m-%d %H:%MZ} {len(report.comparison.new)} new"
        if report.comparison
        else ""
    )
    skipped = f", {len(report.skipped)} could tell nothing" if report.skipped else ""
    verdict = "passed" if report.passed else "FAILED"
    return f"{verdict}: {counts}; {len(report.waived)} waived; {len(report.ran)} checks{skipped}{since}"
