"""`g3zkp-maint keys`: the messenger's keys. How it stands with them, what was rotated, rotate."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli import operator
from g3zkp_maint.cli.output import AsJson, human_seconds, print_json, print_table, say
from g3zkp_maint.cli.since import moment
from g3zkp_maint.coordination.occasion import Held, Occasion
from g3zkp_maint.errors import BadInput, HeldBack, LeaseBusy
from g3zkp_maint.operations import rotation as operations
from g3zkp_maint.operations.rotation import RotationRequest
from g3zkp_maint.rotation.history import TASK
from g3zkp_maint.rotation.plan import RotationPlan, checked_types

_EPILOG = """\
\b
Examples:
  g3zkp-maint keys status                           per type: its key, its age, when it is due
  g3zkp-maint keys history --type signing           what was rotated, and what was taken back
  g3zkp-maint keys rotate --dry-run                 what is due, and the restart that it means
  g3zkp-maint keys rotate --force --reason "planned: quiet hour"
  g3zkp-maint keys rotate --type signing --force --reason "signing key leaked"

\b
A rotation puts new keys beside the old ones, restarts the messenger once, instance after instance, and proves that each
uses them. Where that fails the former keys and instances come back by themselves. One that was killed is ended by the
next, whoever runs it.
"""

keys_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="The messenger's keys: how old, what was, rotate.")

TypeOption = Annotated[
    list[str] | None, typer.Option("--type", "-t", metavar="TYPE", help="Only this one; may be given several times.")
]


@keys_app.command()
def status(as_json: AsJson = False) -> None:
    """How it stands with each key, from the Secret."""
    found = operations.status(Services())
    if as_json:
        print_json(found.as_dict())
        return
    rows = []
    for one in found.standings:
        age = "-" if one.last is None else human_seconds((found.at - one.last).total_seconds())
        due = f"now: {one.fault or one.doubt}" if one.next_due is None else one.next_due
        rows.append((one.type, one.key_id, age, due, one.previous_id, one.previous_until))
    print_table(("type", "key", "age", "due", "previous key", "kept until"), rows, right={"age"})
    if found.rotation is not None and found.rotation.is_unfinished:
        say(f"{_unfinished(found.rotation.run)}: {', '.join(found.rotation.types)}")


@keys_app.command()
def history(
    since: Annotated[str, typer.Option("--since", metavar="WHEN", help="24h, 7d, 2026-11-25, …")] = "52w",
    type: Annotated[str | None, typer.Option("--type", "-t", metavar="TYPE", help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """What was rotated and what was taken back, newest first, as far as the journal reaches."""
    services = Services()
    chosen = None if type is None else checked_types([type])[0]
    start = moment(since, now=services.clock.now())
    found = operations.history(services, start, chosen)[::-1]
    if as_json:
        print_json([turn.as_dict() for turn in found])
    elif found:
        rows = [(turn.at, turn.type, turn.outcome, turn.key_id, turn.former_id, turn.slot, turn.why) for turn in found]
        print_table(("at", "type", "outcome", "key", "before it", "run", "why"), rows)
    else:
        say(f"no key was rotated since {start:%Y-%m-%d %H:%M}Z")


@keys_app.command()
def rotate(
    type: TypeOption = None,
    force: Annotated[bool, typer.Option("--force", help="Also what is not due, at any time; needs --reason.")] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is journaled.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rotate the keys that are due, with --force all of those types. One rolling restart of the messenger."""
    request = RotationRequest.of(type or (), force=force, reason=reason)
    if force and not reason.strip():
        raise BadInput("--force needs --reason TEXT: it restarts the messenger at any time, and the journal tells why")
    services = Services()
    if dry_run:
        _show_plan(operations.plan(services, request), as_json=as_json)
        return
    result = _perform(services, request, quiet=as_json)
    if as_json:
        print_json(result)
    else:
        _show_result(result)


def _perform(services: Services, request: RotationRequest, *, quiet: bool) -> dict[str, Any]:
    slot = operator.manual_slot(services.clock.now())
    if not quiet:
        operator.tell(f"run {TASK} {slot}; if it stops, the next rotation goes on with it")
    # Should this process die half-way, the crypto fleet goes on: new keys may be there that no instance uses yet.
    signature = operator.signature(TASK, list(request.types), force=request.force, reason=request.reason, slot=slot)
    occasion = Occasion(TASK, slot, operator.owner(), signature, wants=operations.WANTS)

    def work(held: Held) -> dict[str, Any]:
        return operations.rotate(services, request, slot, held)

    body = operator.interruptible(work, "go on with: g3zkp-maint keys rotate")
    try:
        found: dict[str, Any] = services.conductor.perform(occasion, body)
    except (LeaseBusy, HeldBack):
        operator.withdraw(services, TASK, slot, operations.WANTS)
        raise
    return found


def _show_plan(plan: RotationPlan, *, as_json: bool) -> None:
    if as_json:
        print_json(plan.as_dict())
        return
    if plan.unfinished is not None:
        say(f"first {_unfinished(plan.unfinished.run)} is brought to its end: {', '.join(plan.unfinished.types)}")
    rows = [(item.type, "rotate" if item.is_due else "keep", item.key_id, item.drops, item.why) for item in plan.items]
    print_table(("type", "plan", "key now", "drops early", "why"), rows)
    if plan.retires:
        say(f"previous keys to be removed, past their overlap: {', '.join(plan.retires)}")
    say(f"rolling restart: {', '.join(plan.restarts) or 'none'}")
    say("nothing was done")


def _show_result(result: dict[str, Any]) -> None:
    if result["finished"]:
        say(f"ended {_unfinished(result['finished'])}")
    if result["rotated"]:
        rows = [(one["type"], one["key_id"], one["former_id"]) for one in result["rotated"]]
        print_table(("rotated", "key", "before it"), rows)
    for name, why in result["not_due"].items():
        say(f"{name}: {why}")
    if result["retired"]:
        say(f"removed previous keys, past their overlap: {', '.join(result['retired'])}")


def _unfinished(run: str) -> str:
    return f"the half-done rotation of run {run}"
