"""`backup copy` and `backup reread`: what keeps backups whole through the years."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from g3zkp_maint.backup.listing import list_backups, newest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.reread import require_whole
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli import operator
from g3zkp_maint.cli.facts import print_facts
from g3zkp_maint.cli.output import AsJson, print_json, progress
from g3zkp_maint.coordination import STORE, Mode
from g3zkp_maint.coordination.occasion import Held, Occasion
from g3zkp_maint.errors import ArchiveCorrupt, BadInput, ManifestInvalid, ObjectMissing, UnknownBackup
from g3zkp_maint.operations import backup as operations
from g3zkp_maint.stores.directory import DirectoryStore

COPY, REREAD, REREAD_SECOND = "backup.copy", "backup.reread", "backup.reread_second"
_WANTS = {STORE: Mode.SHARED}

COPY_EPILOG = """\
\b
Examples:
  g3zkp-maint backup copy --latest                       into the second store of the settings
  g3zkp-maint backup copy --all                          all of them, oldest first; what is there already stays
  g3zkp-maint backup copy NAME --to-store /media/disk    into a folder, as a store of its own
"""

REREAD_EPILOG = """\
\b
Examples:
  g3zkp-maint backup reread      as the calendar does it each day; what is damaged is named with its files
  g3zkp-maint backup reread --second-store     the same of the copies
"""


def copy(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The backup.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest one.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All that can be believed, oldest first.")] = False,
    to_store: Annotated[
        Path | None, typer.Option("--to-store", metavar="DIR", help="A folder, in place of the second store.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy backups into a second store. With all that they need of earlier ones; each copy is read back."""
    if [name is not None, latest, every].count(True) != 1:
        raise BadInput("say which backups: a NAME, --latest or --all, and one of them only")
    services = Services()
    if to_store is None:
        _ = services.second_repository  # that there is one is asked before anything is put on record
        make = partial(_copy, services, as_json=as_json)
    else:
        make = partial(_copy_to, services, _folder(services, to_store))
    names = _names(services, name, latest=latest)
    if every:
        _copy_all(make, names, as_json=as_json)
        return
    result = make(names[0])
    if as_json:
        print_json({"copies": [result]})
    else:
        print_facts(result)


def _copy_all(make: Callable[[str], dict[str, Any]], names: list[str], *, as_json: bool) -> None:
    """One that is damaged does not keep the others; whatever ends it, what was copied is told."""
    copies: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    try:
        for name in names:
            try:
                copies.append(make(name))
            except (ArchiveCorrupt, ManifestInvalid, ObjectMissing, UnknownBackup) as error:
                failed.append({"name": name, "error": error.code, "why": str(error)})
                operator.tell(f"not copied: {name}: {error} [{error.code}]")
            else:
                if not as_json:
                    print_facts(copies[-1])
    finally:
        if as_json:
            print_json({"copies": copies, "failed": failed})
    if failed:
        raise ArchiveCorrupt(
            f"{len(failed)} of {len(names)} backups were not copied: {', '.join(one['name'] for one in failed)}; the rest "
            "was. See each with: g3zkp-maint backup verify NAME --mode full"
        )


def _names(services: Services, name: str | None, *, latest: bool) -> list[str]:
    if name is not None:
        return [name]
    if latest:
        return [newest(services.repository)]
    return [str(one.name) for one in reversed(list_backups(services.repository)) if one.manifest is not None]


def _folder(services: Services, folder: Path) -> Repository:
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; make it first, so that a disk that is not mounted is not filled beside")
    store = services.settings.store
    if store.kind == "directory" and folder.resolve() == store.directory.path.resolve():
        raise BadInput(f"{folder} is the store itself; name another folder")
    return dataclasses.replace(services.repository, store=DirectoryStore(folder), prefix="")


def _copy(services: Services, name: str, *, as_json: bool) -> dict[str, Any]:
    slot = operator.manual_slot(services.clock.now())
    if not as_json:
        operator.tell(f"run {COPY} {slot}")
    occasion = Occasion(COPY, slot, operator.owner(), operator.signature(COPY, name, slot=slot), wants=_WANTS)
    body = operator.interruptible(partial(operations.copy, services, name), "start it again to go on")
    result: dict[str, Any] = services.conductor.perform(occasion, body)
    return result


def _copy_to(services: Services, target: Repository, name: str) -> dict[str, Any]:
    """Under the lease and in the journal, but on no run record: a fleet, which has not this folder, would take a killed
    one up and copy into the second store."""
    slot = operator.manual_slot(services.clock.now())
    trace, owner = f"{COPY}:{slot}", operator.owner()
    step = partial(services.journal.step, trace, COPY, slot, owner=owner)
    with services.leases.acquire(_WANTS, owner=trace, queue=False) as lease:
        held = Held(lease, step, 1, services.clock.now())
        body = operator.interruptible(
            partial(operations.copy, services, name, target=target), "start it again to go on"
        )
        return body(held)


def reread(
    second: Annotated[bool, typer.Option("--second-store", help="In the second store, of the copies.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read today's part of all that is stored. Each stored byte comes again within `verify.reread_days`."""
    services = Services()
    if second:
        _ = services.second_repository
    task = REREAD_SECOND if second else REREAD
    slot = operator.manual_slot(services.clock.now())
    if not as_json:
        operator.tell(f"run {task} {slot}")
    occasion = Occasion(task, slot, operator.owner(), operator.signature(task, slot=slot), wants=_WANTS)
    body = operator.interruptible(partial(_reread, services, second=second, quiet=as_json), "start it again to go on")
    result = services.conductor.perform(occasion, body)
    if as_json:
        print_json(result)
    else:
        print_facts(result)


def _reread(services: Services, held: Held, *, second: bool, quiet: bool) -> dict[str, Any]:
    with progress("read", quiet=quiet) as shown:
        found = operations.carry_out_reread(services, held, progress=shown, second=second)
    for one in found.touched:
        operator.tell(f"damaged: {one}")
    require_whole(found, second=second)
    return found.as_dict()
