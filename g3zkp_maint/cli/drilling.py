"""`backup drill` and `backup drills`: restores for proof, and the evidence that they have left."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from g3zkp_maint.backup.drill import require_passed
from g3zkp_maint.backup.evidence import Kept, read_all
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli import operator
from g3zkp_maint.cli.facts import print_facts
from g3zkp_maint.cli.output import AsJson, human_seconds, print_json, print_table, progress, say
from g3zkp_maint.coordination import STORE, Mode
from g3zkp_maint.coordination.occasion import Held, Occasion
from g3zkp_maint.errors import BadInput
from g3zkp_maint.operations import drill as operations

TASK = "crypto.drill"

DRILL_EPILOG = """\
\b
Examples:
  g3zkp-maint backup drill --latest     is the newest one as good as it looks?
  g3zkp-maint backup drill NAME         needs the recovery identity; the messenger is left alone
"""

DRILLS_EPILOG = """\
\b
Examples:
  g3zkp-maint backup drills             every drill there was, oldest first; needs neither Redis nor the recovery key
  g3zkp-maint backup drills --json | jq '.drills[-1]'
"""


def drill(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The backup.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup for proof, into a scratch folder. Every file is compared, Redis loaded; evidence is kept."""
    if (name is None) is not latest:
        raise BadInput("say which backup: its NAME, or --latest, and not both")
    services = Services()
    slot = operator.manual_slot(services.clock.now())
    if not as_json:
        operator.tell(f"run {TASK} {slot}")
    signature = operator.signature(TASK, name, slot=slot)
    occasion = Occasion(TASK, slot, operator.owner(), signature, wants={STORE: Mode.SHARED})
    body = partial(_drill, services, name, slot, quiet=as_json)
    result = services.conductor.perform(occasion, operator.interruptible(body, "start it again"))
    if as_json:
        print_json(result)
    else:
        print_facts(result)


def _drill(services: Services, name: str | None, slot: str, held: Held, *, quiet: bool) -> dict[str, Any]:
    with progress("drill", quiet=quiet) as shown:
        found = operations.carry_out(services, name, slot, held, progress=shown)
    for path in found.paths:
        operator.tell(f"differs: {path}")
    require_passed(found)
    return operations.as_dict(found)


def drills(as_json: AsJson = False) -> None:
    """The evidence of all drills. What must not be believed is there too, with why."""
    found = read_all(Services().repository)
    if as_json:
        print_json({"drills": [_json(one) for one in found]})
        return
    if not found:
        say("no drills yet; hold one with: g3zkp-maint backup drill --latest")
        return
    columns = ("backup", "when", "outcome", "recovery", "age of data", "entries", "failed")
    print_table(columns, [_row(one) for one in found], right={"recovery", "age of data", "entries"})
    for one in found:
        if one.evidence is None:
            say(f"invalid: {one.why}")


def _row(kept: Kept) -> tuple[object, ...]:
    evidence = kept.evidence
    if evidence is None:
        return (kept.key, None, "INVALID", *[None] * 4)
    times = human_seconds(evidence.recovery_ms / 1000), human_seconds(evidence.recovery_point_seconds)
    failed = "; ".join(map(str, evidence.failed)) or None
    return (evidence.backup, evidence.drilled_at, evidence.outcome, *times, evidence.entries, failed)


def _json(kept: Kept) -> dict[str, Any]:
    if kept.evidence is None:
        return {"key": kept.key, "outcome": "invalid", "why": kept.why}
    return {"key": kept.key, "signer": kept.signer, **kept.evidence.model_dump(mode="json")}
