"""`g3zkp-maint backup restore`: onto the messenger, with all its safety steps, or into a folder beside it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from g3zkp_maint.backup import elsewhere
from g3zkp_maint.backup.choose import find_safety
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.object_reports import ObjectReport
from g3zkp_maint.backup.restore import restore as carry_out
from g3zkp_maint.backup.restore_plan import RestorePlan, plan_restore, require_confirmation
from g3zkp_maint.backup.selection import select_all
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli import operator
from g3zkp_maint.cli.facts import print_facts
from g3zkp_maint.cli.failure import PARTIAL
from g3zkp_maint.cli.output import AsJson, human_bytes, print_json, print_table, progress, say
from g3zkp_maint.cli.which import AtTime, manifest_of, time_given
from g3zkp_maint.coordination import RESOURCES, Mode, RunState, Step, Unguarded
from g3zkp_maint.coordination.checkpoint import Checkpoint, MemoryCheckpoint, RedisCheckpoint
from g3zkp_maint.coordination.occasion import Held, Occasion
from g3zkp_maint.errors import BadInput, ConfirmationRequired, LeaseBusy
from g3zkp_maint.operations.restore import TASK, preview, work
from g3zkp_maint.operations.windows import ask_leave
from g3zkp_maint.windows import words
from g3zkp_maint.windows.leave import Forced, Leave

EPILOG = """\
\b
Examples:
  g3zkp-maint backup restore NAME --dry-run                    what it would do, and the token that confirms it
  g3zkp-maint backup restore NAME --to DIR                     into an empty folder; the messenger is left alone
  g3zkp-maint backup restore NAME --to DIR --component keys    one component of it
  g3zkp-maint backup restore NAME --to DIR --path 'ipfs/blocks/AB/*'
                                                               what a glob matches; ** is any number of folders
  g3zkp-maint backup restore --at 2026-11-25T02:00 --dry-run   the newest backup as of that time
  g3zkp-maint backup restore NAME --force --reason "disk died" onto the messenger; asks for the backup's name
  g3zkp-maint backup restore NAME --component k8s --dry-run    the cluster's objects, one by one
  g3zkp-maint backup restore NAME --resume RUN                 go on with one that stopped

\b
Onto the messenger: everything is read and checked first, a safety backup is taken, the messenger is stopped, its data
brought to what the backup has, and it is started again. Until its data is whole again it stays down. With --path only
what matches is written, and only what matches is removed; the safety backup takes the whole components all the same.

\b
The cluster's objects (component k8s) are restored only where they are named. Alone they are applied to what runs; into an
empty namespace, name all components: the objects come first, then their data, then the instances.

\b
Exit code 3: all is restored but objects that the cluster refused. The result names each with the reason.
"""


UNDO_EPILOG = """\
\b
Examples:
  g3zkp-maint backup undo RUN --dry-run                  what it would do
  g3zkp-maint backup undo RUN --force --reason "was the wrong one"

\b
Exit code 3: all is restored but objects that the cluster refused. The result names each with the reason.
"""


#: The head of a column: an object that is refused has a reason, one that is changed has fields.
_REASON = "fields, or why"


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for on the command line. `name` None: the one that a restore which goes on is of."""

    name: str | None
    at: datetime | None
    components: tuple[str, ...]
    paths: tuple[str, ...]
    safety: bool
    confirm: str | None
    yes_i_mean: str | None
    force: bool
    reason: str | None
    dry_run: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class _Started:
    """A restore onto the messenger that was agreed to; `slot` is the key of its run. One that is resumed had its leave."""

    slot: str
    plan: RestorePlan
    manifest: Manifest
    checkpoint: Checkpoint
    safety: bool
    force: bool
    reason: str
    leave: Leave | Forced | None = None

    def go_on(self) -> str:
        return f"g3zkp-maint backup restore {self.plan.backup} --resume {self.slot}"

    def signature(self) -> str:
        """With the consent that was given: should this process die half-way, the crypto fleet goes on at once, as the
        messenger is down until somebody does."""
        return operator.signature(
            TASK,
            self.plan.backup,
            list(self.plan.components),
            paths=list(self.plan.paths),
            confirm=self.plan.token,
            safety=self.safety,
            force=self.force,
            reason=self.reason,
            slot=self.slot,
        )


def restore(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The backup, as `backup list` names it, or: latest.")
    ] = None,
    at: AtTime = None,
    component: Annotated[
        list[str] | None, typer.Option("--component", "-c", help="Only this one; may be given several times.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option("--path", "-p", metavar="GLOB", help="Only what matches; several times.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="Files into this folder instead.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="With --to: DIR may hold something.")] = False,
    no_safety: Annotated[bool, typer.Option("--no-safety", help="Take no backup of what is there now.")] = False,
    confirm: Annotated[str | None, typer.Option("--confirm", metavar="TOKEN", help="The plan's token.")] = None,
    yes_i_mean: Annotated[
        str | None, typer.Option("--yes-i-mean", metavar="NAME", help="The name again, in place of the token.")
    ] = None,
    resume: Annotated[str | None, typer.Option("--resume", metavar="RUN", help="Go on with this one.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Outside a maintenance window; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; it is journaled.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring back what a backup has. Onto the messenger, or with --to its files into a folder."""
    services = Services()
    since = time_given(at, services)
    parts = tuple(component or ()), tuple(path or ())
    wish = _Wish(name, since, *parts, not no_safety, confirm, yes_i_mean, force, reason, dry_run, as_json)
    if to is not None:
        if resume is not None:
            raise BadInput("--resume goes without --to: a restore into a folder goes on when it is given again")
        _into_folder(services, wish, to, overwrite=overwrite)
        return
    if overwrite:
        raise BadInput("--overwrite goes with --to DIR only")
    if resume is not None:
        _resume(services, wish, resume)
    else:
        _onto_messenger(services, wish)


# -- into a folder -------------------------------------------------------------------------------------------------------


def _into_folder(services: Services, wish: _Wish, folder: Path, *, overwrite: bool) -> None:
    manifest = manifest_of(services.repository, wish.name, wish.at)
    attempt = elsewhere.choose_attempt(
        folder,
        manifest.name,
        wish.components,
        wish.paths,
        overwrite=overwrite,
        data_root=services.settings.backup.mounted_root,
    )
    plan = _plan(services, manifest, attempt.components, attempt.paths, to=folder)
    _show_plan(plan, wish)
    if wish.dry_run:
        return
    services.repository.keyring.archive_identities()
    elsewhere.begin(folder, attempt)
    with progress("restore", plan.read_bytes + plan.bytes, quiet=wish.as_json) as shown:
        site = services.restore_site(Unguarded(), MemoryCheckpoint(), _unrecorded, progress=shown)
        restored = carry_out(site, plan, manifest, run="elsewhere")
    elsewhere.end(folder)
    _show_result(restored.as_dict(), wish)


def _plan(
    services: Services, manifest: Manifest, components: Sequence[str], paths: Sequence[str], **how: Any
) -> RestorePlan:
    selected = select_all(services.repository, manifest, components, paths)
    return plan_restore(manifest, components=components, paths=paths, selected=selected, **how)


def _unrecorded(_: str) -> AbstractContextManager[Step]:
    return nullcontext(Step())


# -- onto the messenger --------------------------------------------------------------------------------------------------


def _onto_messenger(services: Services, wish: _Wish) -> None:
    manifest = manifest_of(services.repository, wish.name, wish.at)
    plan = _plan(services, manifest, wish.components, wish.paths, safety=wish.safety)
    _show_plan(plan, wish, preview(services, plan, manifest))
    if wish.dry_run:
        return
    reason = (wish.reason or "").strip()
    leave = ask_leave(services, partial(work, services, plan), force=wish.force, reason=reason)
    _require_consent(plan, wish)
    slot = operator.manual_slot(services.clock.now())
    checkpoint = _checkpoint(services, slot)
    # Before the run begins: whoever goes on with it, at whatever point it stopped, finds what was agreed to.
    checkpoint.save(
        options={
            "backup": plan.backup,
            "components": list(plan.components),
            "paths": list(plan.paths),
            "safety": wish.safety,
            "token": plan.token,
            "reason": reason,
        }
    )
    try:
        _perform(services, wish, _Started(slot, plan, manifest, checkpoint, wish.safety, wish.force, reason, leave))
    except LeaseBusy:
        operator.withdraw(services, TASK, slot, RESOURCES)
        raise


def _resume(services: Services, wish: _Wish, slot: str) -> None:
    """With the options, the confirmation and the reason of its start: it is the same restore."""
    checkpoint = _checkpoint(services, slot)
    options = _former_options(checkpoint, wish, slot)
    manifest = services.repository.manifest(options["backup"])
    plan = _plan(services, manifest, options["components"], options.get("paths", ()), safety=options["safety"])
    require_confirmation(plan, options["token"])
    _show_plan(plan, wish, preview(services, plan, manifest))
    if wish.dry_run:
        return
    record = services.runs.get(TASK, slot)
    if record is not None and record.state in {RunState.FAILED, RunState.SUPERSEDED}:
        services.runs.reset(TASK, slot)
    _perform(
        services, wish, _Started(slot, plan, manifest, checkpoint, options["safety"], wish.force, options["reason"])
    )


def _former_options(checkpoint: Checkpoint, wish: _Wish, slot: str) -> dict[str, Any]:
    options: dict[str, Any] | None = checkpoint.load().get("options")
    if options is None:
        raise BadInput(f"no restore {slot!r} is on record; `g3zkp-maint runs --task {TASK}` lists those there are")
    if wish.name not in {None, options["backup"]}:
        raise BadInput(f"restore {slot} is one of {options['backup']}, not of {wish.name}; give that name")
    for asked, agreed in ((wish.components, options["components"]), (wish.paths, options.get("paths", []))):
        if asked and set(asked) != set(agreed):
            raise BadInput(f"restore {slot} is one of {', '.join(agreed) or 'all paths'}; it goes on with those")
    return options


# -- back to what was before ----------------------------------------------------------------------------------------------


def undo(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The restore, as its result and `runs` name it.")],
    no_safety: Annotated[bool, typer.Option("--no-safety", help="Take no backup of what is there now.")] = False,
    confirm: Annotated[str | None, typer.Option("--confirm", metavar="TOKEN", help="The plan's token.")] = None,
    yes_i_mean: Annotated[
        str | None, typer.Option("--yes-i-mean", metavar="NAME", help="The safety backup's name, for the token.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Outside a maintenance window; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; it is journaled.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a restore back. The safety backup that it took is restored, of the same paths, and that can be undone too."""
    services = Services()
    safety = find_safety(services.repository.manifests(), run)
    options = _checkpoint(services, run).load().get("options")
    if options is None and not as_json:
        operator.tell(f"what the restore {run} was told is on record no more: its whole components are taken back")
    paths = tuple(options.get("paths", ())) if options else ()
    wish = _Wish(safety.name, None, (), paths, not no_safety, confirm, yes_i_mean, force, reason, dry_run, as_json)
    _onto_messenger(services, wish)


def _checkpoint(services: Services, slot: str) -> RedisCheckpoint:
    return RedisCheckpoint(services.redis, f"{TASK}:{slot}", keep_days=services.settings.coordination.run_keep_days)


def _require_consent(plan: RestorePlan, wish: _Wish) -> None:
    """The name typed, said again, or the token: each shows that this backup is meant."""
    meant = wish.yes_i_mean
    if meant is None and wish.confirm is None and sys.stdin.isatty() and not wish.as_json:
        meant = typer.prompt("This replaces the messenger's data. Type the backup's name to go on", err=True)
    if meant is None:
        require_confirmation(plan, wish.confirm)
    elif meant.strip() != plan.backup:
        raise ConfirmationRequired(f"the name given is not {plan.backup}; nothing was touched")


def _perform(services: Services, wish: _Wish, started: _Started) -> None:
    if not wish.as_json:
        operator.tell(f"run {TASK} {started.slot}; if it stops, go on with: {started.go_on()}")
    wants = dict.fromkeys(RESOURCES, Mode.EXCLUSIVE)
    occasion = Occasion(TASK, started.slot, operator.owner(), started.signature(), wants=wants)
    work = partial(_work, services, started, quiet=wish.as_json)
    body = operator.interruptible(work, f"the messenger may be down. Go on with: {started.go_on()}")
    _show_result(services.conductor.perform(occasion, body), wish)


def _work(services: Services, started: _Started, held: Held, *, quiet: bool) -> dict[str, Any]:
    plan = started.plan
    if started.leave is not None:
        with held.step(words.STEP) as step:
            step.note(**started.leave.facts())
    with held.step("plan") as step:
        step.note(backup=plan.backup, reason=started.reason, components=",".join(plan.components))
        if plan.paths:
            step.note(paths=len(plan.paths))  # no names: file names stay out of journal and logs
    with progress("restore", plan.read_bytes + plan.bytes, quiet=quiet) as shown:
        site = services.restore_site(held.guard, started.checkpoint, held.step, progress=shown)
        return {**carry_out(site, plan, started.manifest, run=started.slot).as_dict(), "run": started.slot}


# -- what is shown -------------------------------------------------------------------------------------------------------


def _show_plan(plan: RestorePlan, wish: _Wish, changes: Sequence[ObjectReport] | None = None) -> None:
    """For machines the plan is the answer of a dry run only: there is one document."""
    if wish.as_json:
        if wish.dry_run:
            told = {} if changes is None else {"changes": [one.as_dict() for one in changes]}
            print_json({**plan.as_dict(), **told})
        return
    rows = [
        ("backup", plan.backup),
        ("onto", plan.target),
        ("components", ", ".join(plan.components)),
        *(("paths", path) for path in plan.paths),
        ("steps", " > ".join(plan.steps)),
        ("read from the store", f"{human_bytes(plan.read_bytes)} in {plan.objects} objects"),
        ("selected" if plan.paths else "in the snapshot", f"{human_bytes(plan.bytes)} in {plan.entries} paths"),
        ("token", plan.token),
    ]
    print_table(("what", "this restore"), rows)
    if changes is not None:
        say("")
        print_table(("object", "would be", _REASON), [(one.object, one.outcome, one.reason) for one in changes])
    if wish.dry_run:
        say("nothing was done")


def _show_result(result: dict[str, Any], wish: _Wish) -> None:
    """Ends the command with PARTIAL where the cluster refused objects."""
    if wish.as_json:
        print_json(result)
    else:
        objects = result.get("objects") or {}
        facts = {name: found for name, found in result.items() if name != "objects"}
        counts = {f"objects {name}": found for name, found in objects.items() if name not in {"reports", "unlisted"}}
        print_facts({**facts, **counts})
        _show_reports(objects.get("reports", ()), objects.get("unlisted", 0))
    if result.get("outcome") == "partial":
        raise typer.Exit(PARTIAL)


def _show_reports(reports: Sequence[Mapping[str, str]], unlisted: int) -> None:
    """What became of the cluster's objects, but of those that were the same."""
    if reports:
        say("")
        print_table(("object", "was", _REASON), [(one["object"], one["outcome"], one["reason"]) for one in reports])
    if unlisted:
        say(f"and {unlisted} more")
