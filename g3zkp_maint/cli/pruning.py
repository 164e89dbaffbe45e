"""`backup prune`: what retention keeps and why, and the deletion of the rest."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from g3zkp_maint.backup.prune import PrunePlan, look, require_share
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli import operator
from g3zkp_maint.cli.facts import print_facts
from g3zkp_maint.cli.output import AsJson, human_bytes, print_json, print_table, say
from g3zkp_maint.coordination import STORE, Mode
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.operations import backup as operations

TASK, SECOND_TASK = "backup.prune", "backup.prune_second"

EPILOG = """\
\b
Examples:
  g3zkp-maint backup prune --dry-run     each backup, and why it is kept or goes; needs no Redis
  g3zkp-maint backup prune               marks what is to go, deletes what was marked long enough
  g3zkp-maint backup prune --force       also where that is more than retention.max_share_per_run
  g3zkp-maint backup prune --second-store --dry-run     the same of the copies
"""


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go past retention.max_share_per_run. The delay after the mark stays.")
    ] = False,
    second: Annotated[bool, typer.Option("--second-store", help="In the second store, of the copies.")] = False,
    as_json: AsJson = False,
) -> None:
    """Apply retention. Backups past it are marked, deleted after a delay, and leftovers of dead runs are swept."""
    services = Services()
    if dry_run:
        site = (services.second_prune_site if second else services.prune_site)(Unguarded())
        _show_plan(look(site, force=force), services, as_json=as_json)
        return
    task = SECOND_TASK if second else TASK
    slot = operator.manual_slot(services.clock.now())
    if not as_json:
        operator.tell(f"run {task} {slot}")
    signature = operator.signature(task, force=force, slot=slot)
    occasion = Occasion(task, slot, operator.owner(), signature, wants={STORE: Mode.EXCLUSIVE})
    body = operator.interruptible(
        partial(operations.prune, services, force=force, second=second), "start it again to go on"
    )
    _show_result(services.conductor.perform(occasion, body), as_json=as_json)


def _show_plan(plan: PrunePlan, services: Services, *, as_json: bool) -> None:
    if as_json:
        print_json(plan.as_dict())
    else:
        due = set(plan.due)
        rows = [
            (one.name, "keep" if one.reasons else "delete" if one.name in due else "mark", str(one))
            for one in (*plan.retention.kept, *plan.retention.deleted)
        ]
        print_table(("backup", "plan", "why"), rows)
        for name in plan.withdrawn:
            say(f"mark withdrawn: {name}")
        leftovers = plan.leftovers.objects
        say(f"leftovers: {len(leftovers)} objects, {human_bytes(sum(one.size for one in leftovers))}")
        for problem in plan.problems:
            say(f"problem: {problem}")
    require_share(plan, services.settings.retention)


def _show_result(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        print_facts(result)
