"""`backup import`: the old scripts' artefacts, made into backups."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from g3zkp_maint.backup.name import BackupName
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli import operator
from g3zkp_maint.cli.output import AsJson, human_bytes, print_json, print_table, progress, say
from g3zkp_maint.errors import ArchiveCorrupt
from g3zkp_maint.operations import importing as operations
from g3zkp_maint.operations.importing import Line, Source

EPILOG = """\
\b
Examples:
  g3zkp-maint backup import /backups/g3zkp --dry-run    which sets there are, and what each becomes
  g3zkp-maint backup import /backups/g3zkp              flat, or in folders YYYY/MM/
  g3zkp-maint backup import store:2025/                 those of 2025 in the bucket that holds the backups as well
  g3zkp-maint backup import store: --partial            also what there is of incomplete ones

\b
The artefacts are only read. Each set is checked to its last byte and becomes a full backup, encrypted and signed, of the
same name where that is free. What was imported before is passed over. Retention applies to imported ones too.
"""


def import_(
    source: Annotated[
        str, typer.Argument(metavar="DIR|store:PREFIX", help="A folder, or keys in the store that begin with PREFIX.")
    ],
    partial: Annotated[
        bool, typer.Option("--partial", help="Make partial backups of sets that are incomplete or damaged.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make backups of what the old scripts left. So that it is listed and restored like any other; exit code 1 when a
    set was refused."""
    services = Services()
    found = operations.open_source(services, source)
    lines = operations.preview(services, found) if dry_run else _imported(services, found, partial, quiet=as_json)
    if as_json:
        print_json({"sets": [asdict(line) for line in lines]})
    else:
        _show(services, lines, dry_run=dry_run)
    refused = [line for line in lines if line.outcome == "refused"]
    if refused:
        raise ArchiveCorrupt(
            f"{len(refused)} of {len(lines)} sets were refused, and nothing of them was imported: "
            f"{', '.join(line.artefacts for line in refused)}; complete them, or give --partial"
        )


def _imported(services: Services, source: Source, partial: bool, *, quiet: bool) -> list[Line]:
    slot = operator.manual_slot(services.clock.now())
    with progress("import", quiet=quiet) as shown:
        imported = operations.import_all(
            services, source, slot, allow_partial=partial, owner=operator.owner(), progress=shown
        )
        return list(imported)


def _show(services: Services, lines: list[Line], *, dry_run: bool) -> None:
    rows = [
        (one.artefacts, one.outcome, one.backup, human_bytes(one.size), ", ".join(one.missing) or None) for one in lines
    ]
    print_table(("artefacts", "outcome", "backup", "size", "missing"), rows, right={"size"})
    for one in lines:
        if one.why:
            say(f"{one.artefacts}: {one.why}")
    days = services.settings.retention.keep_within_days
    before = services.clock.now() - timedelta(days=days)
    old = [one for one in lines if one.backup is not None and BackupName.parse(one.artefacts).at < before]
    if old:
        say(
            f"note: {len(old)} of them are older than retention.keep_within_days={days}, and go with the next prunes unless "
            "a rule keeps them (retention.keep_monthly and others); see: g3zkp-maint backup prune --dry-run"
        )
    if dry_run:
        say("nothing was done")
