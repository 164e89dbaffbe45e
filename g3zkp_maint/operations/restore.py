"""A restore run: what it may do is checked here, the steps are the domain's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.object_reports import ObjectReport
from g3zkp_maint.backup.object_restore import preview as preview_objects
from g3zkp_maint.backup.object_restore import read_objects
from g3zkp_maint.backup.restore import restore as carry_out
from g3zkp_maint.backup.restore_plan import RestorePlan, declared_names, held_down, plan_restore, require_confirmation
from g3zkp_maint.backup.selection import select_all
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import BadInput
from g3zkp_maint.operations.windows import take_leave, work_of
from g3zkp_maint.windows.leave import Work

TASK = "crypto.restore"


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """`confirm` is the plan's token; `paths` are globs, () for whole components. A restore is disruptive: outside a
    window it needs `force` and a `reason`."""

    name: str
    confirm: str | None
    components: tuple[str, ...] = ()
    safety: bool = True
    force: bool = False
    reason: str = ""
    paths: tuple[str, ...] = ()


def plan(services: Services, request: RestoreRequest) -> dict[str, Any]:
    """What the restore would do, with the token that confirms it; `changes` is what would become of each of the
    cluster's objects, where they are a part of it. Raises UnknownBackup, ManifestInvalid, BadInput."""
    manifest = services.repository.manifest(request.name)
    found = _plan(services, manifest, request)
    changes = preview(services, found, manifest)
    return {**found.as_dict(), **({} if changes is None else {"changes": [one.as_dict() for one in changes]})}


def preview(services: Services, plan: RestorePlan, manifest: Manifest) -> tuple[ObjectReport, ...] | None:
    """What would become of each of the cluster's objects, None where they are no part of the plan. Asks the cluster and
    changes nothing; needs a recovery identity, as the objects are encrypted. Raises KeyMaterialError without one."""
    names = [name for name in plan.components if manifest.component(name).kind == "kubernetes"]
    if not names:
        return None
    wanted = [one for name in names for one in read_objects(services.repository, manifest, name)]
    called = declared_names(services.settings.platform)
    return preview_objects(services.platform, wanted, held_down=[called[name] for name in held_down(plan)])


def _plan(services: Services, manifest: Manifest, request: RestoreRequest) -> RestorePlan:
    selected = select_all(services.repository, manifest, request.components, request.paths)
    return plan_restore(
        manifest,
        components=request.components,
        safety=request.safety,
        paths=request.paths,
        selected=selected,
    )


def work(services: Services, plan: RestorePlan) -> Work:
    """What windows are to know of a restore: it takes as long as the longest so far, and at least as its size tells. No
    alert holds it back: often it is what ends one."""
    settings = services.settings.windows
    by_size = settings.restore_minutes * 60 + plan.bytes / (settings.restore_mib_per_second * 2**20)
    basis = "by its size and windows.restore_…"
    known = work_of(
        services, TASK, f"restoring {plan.backup}", first_seconds=by_size, first_basis=basis, heeds_alerts=False
    )
    return known if known.seconds >= by_size else replace(known, seconds=by_size, basis=basis)


def restore(services: Services, request: RestoreRequest, slot: str, held: Held) -> dict[str, Any]:
    """Restores the messenger. Returns what was done. Raises as RestoreRequest and the domain's restore tell."""
    manifest = services.repository.manifest(request.name)
    plan = _plan(services, manifest, request)
    keep_days = services.settings.coordination.run_keep_days
    checkpoint = RedisCheckpoint(services.redis, f"{TASK}:{slot}", keep_days=keep_days)
    if "options" not in checkpoint.load():
        # One that has begun had leave then, and goes on whatever the time is: the messenger may be down.
        take_leave(services, partial(work, services, plan), held, force=request.force, reason=request.reason)
    _confirm_once(plan, request, checkpoint, slot)
    with held.step("plan") as step:
        step.note(backup=request.name, reason=request.reason, components=",".join(plan.components))
    site = services.restore_site(held.guard, checkpoint, held.step)
    return carry_out(site, plan, manifest, run=slot).as_dict()


def _confirm_once(plan: RestorePlan, request: RestoreRequest, checkpoint: RedisCheckpoint, slot: str) -> None:
    """A restore that has begun is confirmed: it must be able to go on, also by a later version with other tokens, and
    under its slot no other restore may go on in its place."""
    begun = checkpoint.load().get("options")
    if begun is None:
        require_confirmation(plan, request.confirm)
        # What `--resume` needs: the same restore goes on, by whatever hand.
        checkpoint.save(
            options={
                "backup": plan.backup,
                "components": list(plan.components),
                "paths": list(plan.paths),
                "safety": request.safety,
                "token": plan.token,
                "reason": request.reason,
            }
        )
    elif begun["backup"] != plan.backup:
        raise BadInput(f"the restore {slot} is one of {begun['backup']}, not of {plan.backup}; give another slot")
    elif (begun["components"], begun.get("paths", [])) != (list(plan.components), list(plan.paths)):
        raise BadInput(f"the restore {slot} is one of other components or paths of {plan.backup}; give another slot")
