"""The steps of a backup run, as its canvas calls them, and the verification of one that exists."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from g3zkp_maint.backup import commit as sealing
from g3zkp_maint.backup import prune as pruning
from g3zkp_maint.backup.component import archive_shard
from g3zkp_maint.backup.copying import copy_backup, lacking
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.plan import BackupPlan
from g3zkp_maint.backup.prepare import prepare, run_post_commands, stored_plan
from g3zkp_maint.backup.report import append_to_log, summary
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.request import BackupRequest
from g3zkp_maint.backup.reread import Reread, require_whole
from g3zkp_maint.backup.reread import reread as reread_part
from g3zkp_maint.backup.touched import touched
from g3zkp_maint.backup.verify import Verified, VerifyMode
from g3zkp_maint.backup.verify import verify as verify_backup
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.calendar.slot import parse_slot
from g3zkp_maint.coordination.occasion import HandOver, Held
from g3zkp_maint.errors import (
    ArchiveCorrupt,
    BadInput,
    MaintenanceError,
    ManifestInvalid,
    ObjectMissing,
    UnknownBackup,
)
from g3zkp_maint.progress import Progress
from g3zkp_maint.settings import SecondStore

#: How many copies that are lacking one run makes: the leases are not held for days.
_MADE_UP = 10


class Followup(NamedTuple):
    """A task by its name, and what it is called with."""

    task: str
    kwargs: dict[str, Any]


def plan(services: Services, type: BackupType, slot: str, held: Held) -> HandOver | dict[str, Any]:
    """Plans the backup of this run, and hands over its name and its archives; or, where it exists, its summary.

    A calendar slot names the backup, any other key the time at which the run began, so a repetition finds its own.
    """
    request = BackupRequest(type, slot, named_at(slot, held))
    with held.step("plan") as step:
        found = prepare(services.workshop(held.guard), request)
        step.note(backup=found.name)
    if isinstance(found, Manifest):
        return summary(found)
    return HandOver({"name": found.name, "archives": [shard.archive for shard in found.shards]})


def store(services: Services, name: str, archive: str, held: Held) -> dict[str, Any]:
    """Stores one archive. Returns its name, and the bytes stored. Where the manifest is there already, nothing is left
    to be done."""
    workshop = services.workshop(held.guard)
    found = stored_plan(workshop.repository, name)
    if found is None:
        return {"archive": archive, "backup": _manifest(services, name).name}
    with held.step(archive) as step:
        done = archive_shard(workshop, found, archive)
        step.bytes = done.archive.size
        step.note(entries=done.counts.entries)
    return {"archive": archive, "bytes": done.archive.size}


def seal(services: Services, name: str, held: Held) -> HandOver:
    """Seals the backup."""
    workshop = services.workshop(held.guard)
    with held.step("seal") as step:
        found: BackupPlan | None = stored_plan(workshop.repository, name)
        manifest = _manifest(services, name) if found is None else sealing.commit(workshop, found)
        step.outcome = str(manifest.outcome)
    return HandOver({"name": manifest.name})


def verify_sealed(services: Services, name: str, held: Held) -> HandOver:
    """Looks at the new backup. Raises ArchiveCorrupt with all that is wrong."""
    _verified(services, name, VerifyMode.QUICK, held)
    return HandOver({"name": name})


def report(services: Services, name: str, held: Held) -> dict[str, Any]:
    """Runs the post-commands, tells the messenger's log (a failure of that is journaled only), and sums up."""
    manifest = _manifest(services, name)
    workshop = services.workshop(held.guard)
    run_post_commands(workshop)
    tell_messenger(services, manifest, held)
    return summary(manifest)


def followups(made: Mapping[str, Any], slot: str, *, second: SecondStore) -> tuple[Followup, ...]:
    """What is to be done once a backup is on record, each as a run of its own: the backup does not fail for it. `made`
    is the result of its report, `second` where copies go. Pure.

    A full backup is drilled: the incrementals of a week will rest on it.
    """
    name = str(made["name"])
    found = [Followup("backup.prune", {"slot": slot})]
    if second.kind != "none":
        found.append(Followup("backup.copy", {"name": name, "lacking": True, "slot": name}))
    if second.kind != "none" and second.prune:
        found.append(Followup("backup.prune_second", {"slot": slot}))
    if made["type"] == BackupType.FULL:
        found.append(Followup("crypto.drill", {"name": name, "slot": name}))
    return tuple(found)


def after_failure(services: Services, held: Held) -> None:
    """Runs the post-commands of a backup that has failed for good. A failure of theirs is journaled, and hides nothing."""
    if any(component.post for component in services.settings.backup.components):
        with suppress(MaintenanceError), held.step("post"):
            run_post_commands(services.workshop(held.guard))


def tell_messenger(services: Services, manifest: Manifest, held: Held) -> None:
    """Appends to the messenger's backup log, where the settings ask for it. A backup does not fail for that: the step
    journals why it failed."""
    if services.settings.messenger.append_backup_log:
        with suppress(MaintenanceError), held.step("log"):
            append_to_log(services.platform, services.settings.messenger.data_path, manifest)


def verify(services: Services, name: str, mode: VerifyMode, held: Held) -> dict[str, Any]:
    """Verifies a backup. Returns what was looked at; raises UnknownBackup, ManifestInvalid, ArchiveCorrupt."""
    found = _verified(services, name, mode, held)
    return {"name": name, "mode": str(mode), "objects": found.objects, "bytes": found.bytes}


def prune(
    services: Services, held: Held, *, dry_run: bool = False, force: bool = False, second: bool = False
) -> dict[str, Any]:
    """Retention and the sweep of leftovers, in the store or the second one. Returns what was done; of a dry run, the
    plan. Raises as the domain's prune."""
    site = (services.second_prune_site if second else services.prune_site)(held.guard)
    if dry_run:
        with held.step("survey"):
            return pruning.look(site, force=force).as_dict()
    with held.step("prune") as step:
        found = pruning.prune(site, force=force)
        step.bytes, step.outcome = found.freed_bytes, found.outcome
        step.note(
            kept=found.kept,
            marked=len(found.marked),
            deleted=len(found.deleted),
            objects=found.objects,
            locked=len(found.locked),
            problems=len(found.problems),
        )
    return found.as_dict()


def copy(services: Services, name: str, held: Held, *, target: Repository | None = None) -> dict[str, Any]:
    """Copies a backup into the second store (or into `target`), and tells what was written. Raises as copy_backup."""
    site = services.copy_site(held.guard, target=target)
    with held.step("copy") as step:
        found = copy_backup(site, name)
        step.bytes = found.bytes
        step.note(backup=name, objects=found.objects, already=found.already)
    return found.as_dict()


def copy_and_make_up(services: Services, name: str, held: Held) -> dict[str, Any]:
    """As `copy`, and then of the backups that retention keeps those that have no copy, as theirs failed: so many a run
    that days of outage are made up in as few. One that is damaged does not keep the others, and makes it `partial`."""
    result = copy(services, name, held)
    kept = pruning.look(services.prune_site(held.guard)).retention.kept
    made_up: list[str] = []
    problems: list[str] = []
    for one in lacking(kept, {str(there) for there in services.second_repository.names()}):
        if len(made_up) == _MADE_UP:
            break
        try:
            copy(services, one, held)
            made_up.append(one)
        except (ArchiveCorrupt, ManifestInvalid, ObjectMissing, UnknownBackup) as error:
            problems.append(f"{one}: {error}")
    return {**result, "outcome": "partial" if problems else "ok", "made_up": made_up, "problems": problems}


def reread(services: Services, held: Held, *, progress: Progress | None = None) -> dict[str, Any]:
    """Reads today's part of all that is stored. Raises ArchiveCorrupt with all that is damaged."""
    found = carry_out_reread(services, held, progress=progress)
    require_whole(found)
    return found.as_dict()


def reread_second(services: Services, held: Held) -> dict[str, Any]:
    """As `reread`, of the copies; the calendar asks for it also where there are none."""
    if services.settings.second_store.kind == "none":
        with held.step("reread") as step:
            step.note(overdue=0)  # one that there was is late no more
        return {"outcome": "ok", "remark": "there is no second store (second_store.kind=none); nothing was read"}
    found = carry_out_reread(services, held, second=True)
    require_whole(found, second=True)
    return found.as_dict()


def carry_out_reread(
    services: Services, held: Held, *, progress: Progress | None = None, second: bool = False
) -> Reread:
    """As `reread`; what is damaged is in the result. The journal has counts, and no paths."""
    make_site = services.second_reread_site if second else services.reread_site
    with held.step("reread") as step:
        found = reread_part(make_site(held.guard, progress=progress))
        step.bytes = found.bytes
        step.outcome = "failed" if found.problems else "ok"
        step.note(objects=found.objects, of_objects=found.of_objects, of_bytes=found.of_bytes, overdue=found.overdue)
        if found.remark:
            step.note(remark=found.remark)
        if found.problems:
            step.note(problems=len(found.problems), files_touched=sum(one.files for one in found.touched))
    return found


def _verified(services: Services, name: str, mode: VerifyMode, held: Held) -> Verified:
    repository = services.primary_repository
    with held.step(f"verify-{mode}") as step:
        manifest = repository.manifest(name)
        found = verify_backup(repository, manifest, mode)
        step.bytes = found.bytes
        if not found.is_whole:
            files = sum(one.files for one in touched(repository, manifest, found.damaged))
            step.note(problems=len(found.problems), files_touched=files)
            raise ArchiveCorrupt(f"{name} is not whole, {files} files are touched: {'; '.join(found.problems)}")
    return found


def _manifest(services: Services, name: str) -> Manifest:
    return services.repository.manifest(name)


def named_at(slot: str, held: Held) -> datetime:
    """The time that a backup is named by: its calendar slot, or else when its run first began."""
    try:
        return parse_slot(slot)
    except BadInput:
        return held.started
