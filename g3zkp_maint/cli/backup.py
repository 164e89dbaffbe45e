"""`g3zkp-maint backup`: take, list, verify and restore backups. Here: the group, and `run`; the rest is beside it."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Annotated, Any

import typer

from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.preview import Preview, PreviewedComponent, preview
from g3zkp_maint.backup.report import summary
from g3zkp_maint.backup.request import BackupRequest
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli import backup_reading, contents, drilling, importing, keeping, operator, pruning, restoring
from g3zkp_maint.cli.facts import print_facts
from g3zkp_maint.cli.output import AsJson, human_bytes, print_json, print_table, progress, say
from g3zkp_maint.cli.stages import Stages
from g3zkp_maint.coordination import DATA, STORE, Mode
from g3zkp_maint.coordination.occasion import Held, Occasion
from g3zkp_maint.operations import backup as operations

TASK = "backup.run"

_EPILOG = """\
\b
Examples:
  g3zkp-maint backup run incremental           take one now, in this process
  g3zkp-maint backup run full --dry-run        what would be stored?
  g3zkp-maint backup list                      those there are, newest first
  g3zkp-maint backup ls NAME ipfs/blocks       the files in one
  g3zkp-maint backup verify --latest           is the newest one whole?
  g3zkp-maint backup restore NAME --dry-run    what a restore would do
  g3zkp-maint backup restore NAME --to DIR     its files into an empty folder; the messenger is left alone
"""

_RUN_EPILOG = """\
\b
Examples:
  g3zkp-maint backup run                          an incremental one
  g3zkp-maint backup run full --processes 4       all of it anew, on four cores
  g3zkp-maint backup run --slot before-upgrade    once: repeated, it tells the same result
  g3zkp-maint backup run --dry-run                compares and stores nothing; needs no Redis
"""

backup_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="Take, list, verify, prune and restore backups.")
backup_app.command("list", epilog=backup_reading.LIST_EPILOG)(backup_reading.list_all)
backup_app.command("show")(backup_reading.show)
backup_app.command("ls", epilog=backup_reading.LS_EPILOG)(backup_reading.ls)
backup_app.command("verify", epilog=backup_reading.VERIFY_EPILOG)(backup_reading.verify)
backup_app.command("extract", epilog=backup_reading.EXTRACT_EPILOG)(backup_reading.extract)
backup_app.command("cat", epilog=contents.CAT_EPILOG)(contents.cat)
backup_app.command("diff", epilog=contents.DIFF_EPILOG)(contents.diff)
backup_app.command("drill", epilog=drilling.DRILL_EPILOG)(drilling.drill)
backup_app.command("drills", epilog=drilling.DRILLS_EPILOG)(drilling.drills)
backup_app.command("copy", epilog=keeping.COPY_EPILOG)(keeping.copy)
backup_app.command("reread", epilog=keeping.REREAD_EPILOG)(keeping.reread)
backup_app.command("prune", epilog=pruning.EPILOG)(pruning.prune)
backup_app.command("restore", epilog=restoring.EPILOG)(restoring.restore)
backup_app.command("import", epilog=importing.EPILOG)(importing.import_)
backup_app.command("undo", epilog=restoring.UNDO_EPILOG)(restoring.undo)


@backup_app.command("run", epilog=_RUN_EPILOG)
def run(
    type: Annotated[str, typer.Argument(metavar="[full|incremental]", help="What to take.")] = "incremental",
    slot: Annotated[
        str | None, typer.Option("--slot", metavar="KEY", help="What it is for; one run for each. Default: now.")
    ] = None,
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="Archives made at a time.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be stored.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a backup now. In this process, with the run record, the lease and the journal of a scheduled one."""
    kind = BackupType.parse(type)
    services = Services()
    if dry_run:
        with progress("compare", quiet=as_json) as shown:
            found = preview(
                services.repository,
                services.settings.backup.components,
                kind,
                source=services.messenger_source,
                progress=shown,
            )
        _show_preview(found, as_json=as_json)
        return
    slot = slot if slot is not None else operator.manual_slot(services.clock.now())
    if not as_json:
        operator.tell(f"run {TASK} {slot}")
    signature = operator.signature(TASK, str(kind), slot=slot)
    occasion = Occasion(TASK, slot, operator.owner(), signature, wants={DATA: Mode.SHARED, STORE: Mode.SHARED})
    body = partial(_back_up, services, kind, slot, processes=processes, quiet=as_json)
    result = services.conductor.perform(occasion, operator.interruptible(body, "start it again"))
    if as_json:
        print_json(result)
    else:
        print_facts(result)


def _back_up(
    services: Services, kind: BackupType, slot: str, held: Held, *, processes: int, quiet: bool
) -> dict[str, Any]:
    """As a fleet does it: the same steps, in one process."""
    begun = services.clock.monotonic()
    request = BackupRequest(kind, slot, operations.named_at(slot, held))
    with progress("backup", quiet=quiet) as shown, Stages(shown, held.step) as stages:
        manifest = back_up(services.workshop(held.guard, progress=stages), request, processes=processes)
    operations.verify_sealed(services, manifest.name, held)
    operations.tell_messenger(services, manifest, held)
    seconds = round(services.clock.monotonic() - begun, 3)
    return {**summary(manifest), "took_seconds": seconds, "remarks": list(manifest.notes)}


def _show_preview(found: Preview, *, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    say(f"this would be {_article(found.type)} backup" + (f" on top of {found.parent}" if found.parent else ""))
    for note in found.notes:
        say(f"note: {note}")
    print_table(
        ("component", "kind", "files", "bytes", "new files", "new bytes"),
        [_preview_row(component) for component in found.components],
        right=("files", "bytes", "new files", "new bytes"),
    )
    say("nothing was stored; the new ones are an upper bound, as touched files with their old content are not stored")


def _article(kind: BackupType) -> str:
    return "a full" if kind is BackupType.FULL else "an incremental"


def _preview_row(component: PreviewedComponent) -> tuple[object, ...]:
    sizes = [None if size is None else human_bytes(size) for size in (component.bytes, component.new_bytes)]
    return (component.name, component.kind, component.entries, sizes[0], component.new_entries, sizes[1])
