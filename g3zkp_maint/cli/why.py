"""`g3zkp-maint why TASK SLOT`: why a run did or did not happen."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.cli.output import AsJson, human_seconds, print_json, print_table, say
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination import connect
from g3zkp_maint.coordination.journal import Journal
from g3zkp_maint.explain.answer import Answer, explain
from g3zkp_maint.explain.question import question
from g3zkp_maint.settings import load

#: Runs are begun after the time that they are for, or by hand some hours ahead of it: older records are not read.
_AHEAD = timedelta(days=1)

_EPILOG = """\
\b
Examples:
  g3zkp-maint why backup.run                      the newest slot
  g3zkp-maint why backup-incremental 2026-11-22   a Sunday: it gave way
  g3zkp-maint why cleanup.run 2026-11-25T03:00
"""

why_app = typer.Typer()


@why_app.command(epilog=_EPILOG)
def why(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task or an entry: backup.run, backup-full.")],
    slot: Annotated[
        str, typer.Argument(metavar="SLOT", help="2026-11-22T02:00 (UTC), a day, latest, or a run's own slot.")
    ] = "latest",
    as_json: AsJson = False,
) -> None:
    """Why the run of TASK for SLOT did or did not happen: from the journal and the calendar alone."""
    settings, now = load(), SystemClock().now()
    calendar = load_catalog(settings.beat.calendar).everything
    client = connect(settings.redis.url.get_secret_value())
    journal = Journal(client, clock=SystemClock(), cap=settings.coordination.journal_records)
    asked = question(task, slot, calendar, now)
    since = min(asked.moment, now) - _AHEAD if asked.moment is not None and asked.entries else None
    records = journal.read(since, only=asked.concerns)
    answer = explain(task, slot, records, calendar, now, begins=_begins(journal))
    if as_json:
        print_json(answer.as_dict())
    else:
        _print(answer)


def _begins(journal: Journal) -> datetime | None:
    return next((record.event.at for record in journal.read(limit=1)), None)


def _print(answer: Answer) -> None:
    entry = f" ({answer.entry})" if answer.entry else ""
    say(f"{answer.task} {answer.slot}{entry}: {answer.verdict}")
    # A sentence may begin with the name of a task, which is written as it is.
    begins_as_prose = answer.why.partition(" ")[0].isalpha()
    say(f"{answer.why[:1].upper() if begins_as_prose else answer.why[:1]}{answer.why[1:]}.")
    if answer.story:
        say("")
        print_table(("at", "what"), [(line.at, line.text) for line in answer.story])
        say("")
    facts = [f"run {answer.run}"] if answer.run else []
    facts += [] if answer.seconds is None else [f"took {human_seconds(answer.seconds)}"]
    facts += [f"slot before {answer.last_due}, after {answer.next_due}"] if answer.next_due else []
    if facts:
        say(", ".join(facts))
    if answer.todo:
        say(f"to do: {answer.todo}")
