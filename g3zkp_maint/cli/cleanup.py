"""`g3zkp-maint cleanup`: what has expired, and its deletion."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cleanup.plan import KINDS, CleanupPlan, CleanupRequest, require_allowed
from g3zkp_maint.cli import operator
from g3zkp_maint.cli.facts import print_facts
from g3zkp_maint.cli.output import AsJson, print_json, print_table, say
from g3zkp_maint.coordination import DATA, Mode
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.errors import BadInput
from g3zkp_maint.operations import cleanup as operations

_EPILOG = """\
\b
Examples:
  g3zkp-maint cleanup plan                      the cutoffs, and how much would go
  g3zkp-maint cleanup run                       as the calendar does it each night
  g3zkp-maint cleanup run --messages-days 14    this time only
  g3zkp-maint cleanup run --messages-days 0.5 --force --reason "order of the court"
"""

cleanup_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="Delete expired messages, proofs and sessions.")

MessagesDays = Annotated[float | None, typer.Option("--messages-days", help="In place of cleanup.messages_days.")]
ProofsDays = Annotated[float | None, typer.Option("--proofs-days", help="In place of cleanup.proofs_days.")]
SessionsHours = Annotated[float | None, typer.Option("--sessions-hours", help="In place of cleanup.sessions_hours.")]
Force = Annotated[bool, typer.Option("--force", help="Go below the floors; needs a --reason.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the journal; no secret.")]


@cleanup_app.command("plan", epilog=_EPILOG)
def plan(
    messages_days: MessagesDays = None,
    proofs_days: ProofsDays = None,
    sessions_hours: SessionsHours = None,
    force: Force = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Show what would be deleted, and whether it may be. Deletes nothing; needs no Redis."""
    _show_plan(_request(messages_days, proofs_days, sessions_hours, force, reason), as_json=as_json)


@cleanup_app.command("run", epilog=_EPILOG)
def run(
    messages_days: MessagesDays = None,
    proofs_days: ProofsDays = None,
    sessions_hours: SessionsHours = None,
    force: Force = False,
    reason: Reason = "",
    slot: Annotated[
        str | None, typer.Option("--slot", metavar="KEY", help="What it is for; one run for each. Default: now.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what has expired, and give its room back. In this process, one try a step; never beside a backup."""
    request = _request(messages_days, proofs_days, sessions_hours, force, reason)
    if dry_run:
        _show_plan(request, as_json=as_json)
        return
    services = Services()
    slot = slot if slot is not None else operator.manual_slot(services.clock.now())
    if not as_json:
        operator.tell(f"run {operations.TASK} {slot}")
    asked = request.model_dump(exclude_defaults=True)
    signature = operator.signature(operations.TASK, slot=slot, **asked)
    occasion = Occasion(operations.TASK, slot, operator.owner(), signature, wants={DATA: Mode.EXCLUSIVE})
    body = operator.interruptible(partial(operations.carry_out, services, request, slot), "start it again to go on")
    result = services.conductor.perform(occasion, body)
    if as_json:
        print_json(result)
    else:
        print_facts({name: value for name, value in result.items() if name != "cutoffs_ms"})


def _request(
    messages_days: float | None, proofs_days: float | None, sessions_hours: float | None, force: bool, reason: str
) -> CleanupRequest:
    if force and not reason.strip():
        raise BadInput("--force needs a --reason; it is journaled")
    return CleanupRequest.parse(
        {
            "messages_days": messages_days,
            "proofs_days": proofs_days,
            "sessions_hours": sessions_hours,
            "force": force,
            "reason": reason,
        }
    )


def _show_plan(request: CleanupRequest, *, as_json: bool) -> None:
    found = operations.preview(Services(), request)
    planned = CleanupPlan.model_validate({name: found[name] for name in CleanupPlan.model_fields})
    if as_json:
        print_json(found)
    else:
        print_table(("what", "older than", "would go", "remark"), [_row(planned, found, kind) for kind in KINDS])
        age = planned.backup_age_hours
        say(f"newest valid backup: {planned.backup or 'none'}" + (f", {age:.1f} h old" if age is not None else ""))
    require_allowed(planned)


def _row(planned: CleanupPlan, found: dict[str, Any], kind: Any) -> tuple[object, ...]:
    return (kind, planned.cutoff(kind), found["would_delete"][kind], found["not_counted"].get(kind, ""))
