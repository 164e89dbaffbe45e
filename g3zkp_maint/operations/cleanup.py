"""A cleanup, as a run of several steps: plan, the deletions, compaction, report.

The plan is kept outside the process under the run's slot, and with it what each step came to: a repetition has the same
cutoffs and does no step twice. A step has tries of its own; when they are used up the others go on where that is safe.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from g3zkp_maint.backup.manifest import Manifest, Outcome
from g3zkp_maint.backup.restore_plan import SAFETY_PREFIX
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cleanup import housekeeping
from g3zkp_maint.cleanup import outcome as outcomes
from g3zkp_maint.cleanup import plan as plans
from g3zkp_maint.cleanup import step as steps
from g3zkp_maint.cleanup.outcome import Done
from g3zkp_maint.cleanup.plan import KINDS, Backed, CleanupPlan, CleanupRequest, StepName
from g3zkp_maint.cleanup.step import CleanupSite
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.guard import Guard, Unguarded
from g3zkp_maint.coordination.journal import Step
from g3zkp_maint.coordination.occasion import HandOver, Held
from g3zkp_maint.errors import LeaseLost, MaintenanceError, TemporaryError

TASK = "cleanup.run"
_DRY_RUN_SECONDS = 60.0
#: Of claims that nothing mounts no more are named.
_LISTED = 50


def plan(services: Services, request: CleanupRequest, slot: str, held: Held) -> HandOver:
    """Plans the cleanup of this run, once, and hands over its steps. Raises CleanupRefused."""
    with held.step("plan") as step:
        found = _kept_plan(services, slot) or _planned(services, request, slot, held)
        step.note(**{f"{kind}_before_ms": found.cutoffs_ms[kind] for kind in KINDS})
        step.note(backup=found.backup, backup_age_hours=found.backup_age_hours)
        if found.forced:
            step.note(forced=found.reason)
    return HandOver({"steps": [str(one) for one in found.steps]})


def take(services: Services, name: StepName, slot: str, held: Held) -> dict[str, Any]:
    """Takes one step. Raises a TemporaryError while it has tries left; then, and for what no try will mend, what went
    wrong is the step's own outcome. LeaseLost passes always."""
    known = _done(services, slot)
    done = known.get(name) or _taken(services, name, slot, held, known)
    _checkpoint(services, slot).save(**{f"done-{name}": done.model_dump(mode="json")})
    return done.model_dump(mode="json", exclude_defaults=True)


def report(services: Services, slot: str, held: Held) -> dict[str, Any]:
    """Ends the run. Raises CleanupFailed where nothing could be deleted."""
    with held.step("report") as step:
        result = outcomes.summary(_required_plan(services, slot), _done(services, slot))
        step.outcome = result["outcome"]  # its bytes are those of the compaction
        step.note(**{kind: result[kind] for kind in KINDS}, problems=len(result["problems"]))
    return result


def carry_out(services: Services, request: CleanupRequest, slot: str, held: Held) -> dict[str, Any]:
    """All of it in this process, one try a step: whoever waits for it starts it again himself."""
    plan(services, request, slot, held)
    for name in _required_plan(services, slot).steps:
        try:
            take(services, name, slot, held)
        except TemporaryError as error:
            _checkpoint(services, slot).save(**{f"done-{name}": _failed(name, error).model_dump(mode="json")})
    return report(services, slot, held)


def preview(services: Services, request: CleanupRequest) -> dict[str, Any]:
    """A dry run: the plan, and of each kind how many would go, where the messenger can tell. Deletes nothing."""
    now = services.clock.now()
    found = _made(services, request, begun=now, now=now)
    site = _site(services, Unguarded(), seconds=min(services.settings.cleanup.step_seconds, _DRY_RUN_SECONDS))
    counted = {kind: steps.count(site, found, kind) for kind in KINDS}
    return {
        **found.as_dict(),
        "would_delete": {kind: one.count for kind, one in counted.items()},
        "not_counted": {kind: one.why for kind, one in counted.items() if one.count is None},
    }


# -- the plan ----------------------------------------------------------------------------------------------------------------


def _planned(services: Services, request: CleanupRequest, slot: str, held: Held) -> CleanupPlan:
    found = _made(services, request, begun=held.started, now=services.clock.now())
    plans.require_allowed(found)
    held.guard.verify()
    _checkpoint(services, slot).save(plan=found.as_dict())
    return found


def _made(services: Services, request: CleanupRequest, *, begun: datetime, now: datetime) -> CleanupPlan:
    return plans.plan(services.settings.cleanup, request, begun=begun, now=now, newest=_newest(services))


def _newest(services: Services) -> Backed | None:
    """The newest by name that counts. One that ran late may have looked at the data later than its name says, and later
    than this one: then less is deleted than might be."""
    for one in services.repository.manifests():
        if isinstance(one, Manifest) and one.outcome is Outcome.OK and not one.run.startswith(SAFETY_PREFIX):
            return Backed(one.name, one.planned_at)
    return None


def _kept_plan(services: Services, slot: str) -> CleanupPlan | None:
    kept = _checkpoint(services, slot).load().get("plan")
    return CleanupPlan.model_validate(kept) if kept else None


def _required_plan(services: Services, slot: str) -> CleanupPlan:
    found = _kept_plan(services, slot)
    if found is None:
        raise LeaseLost(f"the plan of {TASK} for {slot} is not on record any more; this step of it must stop")
    return found


# -- one step ----------------------------------------------------------------------------------------------------------------


def _taken(services: Services, name: StepName, slot: str, held: Held, known: dict[StepName, Done]) -> Done:
    why = outcomes.obstacle(name, known)
    if why is not None:
        return Done(step=name, outcome="skipped", why=why)
    try:
        with held.step(name) as step:
            done = _acted(services, name, slot, held)
            _tell(step, done)
            return done
    except TemporaryError as error:
        if held.attempt < services.settings.coordination.max_attempts:
            error.retry_after_seconds = _pause(services, held.attempt)
            raise
        return _failed(name, error)
    except LeaseLost:
        raise
    except MaintenanceError as error:
        return _failed(name, error)


def _acted(services: Services, name: StepName, slot: str, held: Held) -> Done:
    site = _site(services, held.guard, seconds=services.settings.cleanup.step_seconds)
    match name:
        case StepName.MESSAGES | StepName.PROOFS | StepName.SESSIONS:
            kind: plans.Kind = name.value  # type: ignore[assignment]  # the three are their names
            return Done(step=name, outcome="ok", count=steps.delete(site, _required_plan(services, slot), kind))
        case StepName.COMPACT:
            return Done(step=name, outcome="ok", freed_bytes=steps.compact(site))
        case StepName.HOUSEKEEPING:
            return _tidied(services, held)


def _tidied(services: Services, held: Held) -> Done:
    days = services.settings.cleanup.housekeeping_days
    if days is None:
        # It was set when the run was planned.
        return Done(step=StepName.HOUSEKEEPING, outcome="skipped", why="cleanup.housekeeping_days is not set any more")
    found = housekeeping.tidy(services.housekeeping, held.guard, now=services.clock.now(), days=days)
    return Done(step=StepName.HOUSEKEEPING, outcome="ok", count=len(found.leftovers), listed=found.unmounted[:_LISTED])


def _tell(step: Step, done: Done) -> None:
    if done.step is StepName.COMPACT:
        step.bytes = done.freed_bytes
    else:
        step.note(count=done.count)


def _failed(name: StepName, error: MaintenanceError) -> Done:
    return Done(step=name, outcome="failed", why=f"{error} [{error.code}]")


def _site(services: Services, guard: Guard, *, seconds: float) -> CleanupSite:
    return CleanupSite(services.platform, guard, seconds, services.settings.coordination.lease_ttl_seconds / 3)


def _pause(services: Services, attempt: int) -> float:
    """Longer with each try, and shorter than the canvas is held open."""
    coordination = services.settings.coordination
    return float(min(coordination.retry_seconds * 4.0 ** (attempt - 1), coordination.handoff_seconds / 2))


def _done(services: Services, slot: str) -> dict[StepName, Done]:
    kept = _checkpoint(services, slot).load()
    found = {name: kept.get(f"done-{name}") for name in StepName}
    return {name: Done.model_validate(document) for name, document in found.items() if document}


def _checkpoint(services: Services, slot: str) -> RedisCheckpoint:
    return RedisCheckpoint(services.redis, f"{TASK}:{slot}", keep_days=services.settings.coordination.run_keep_days)
