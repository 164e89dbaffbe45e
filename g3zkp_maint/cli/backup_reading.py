"""`backup list`, `show`, `ls`, `verify` and `extract`: what is in the store. None of them needs Redis or changes a thing
there."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup import verify as verification
from g3zkp_maint.backup.artefacts import RUN_PREFIX
from g3zkp_maint.backup.chain import Break
from g3zkp_maint.backup.listing import Listed, chain_breaks, list_backups, newest, stored_bytes
from g3zkp_maint.backup.manifest import Archive, Component, Manifest
from g3zkp_maint.backup.one_object import copy_to_file, read_object
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.row import Row, escape
from g3zkp_maint.backup.touched import touched
from g3zkp_maint.backup.verify import VerifyMode
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli.facts import print_facts
from g3zkp_maint.cli.output import AsJson, human_bytes, human_seconds, print_json, print_table, printable, progress, say
from g3zkp_maint.cli.which import Name, manifest_of
from g3zkp_maint.errors import ArchiveCorrupt, BadInput

LIST_EPILOG = """\
\b
Examples:
  g3zkp-maint backup list                  newest first; what cannot be believed is there too, with why
  g3zkp-maint backup list --json | jq -r '.backups[].name'
"""

LS_EPILOG = """\
\b
Examples:
  g3zkp-maint backup ls NAME                      every path
  g3zkp-maint backup ls NAME ipfs/blocks          those below a folder
  g3zkp-maint backup ls NAME --component keys --json | jq -r .path
"""

VERIFY_EPILOG = """\
\b
Examples:
  g3zkp-maint backup verify --latest              is all there, in the right sizes?
  g3zkp-maint backup verify NAME --mode full      reads every stored byte; names the files that damage has touched
"""

EXTRACT_EPILOG = """\
\b
Examples:
  g3zkp-maint backup extract NAME redis -o dump.rdb
  g3zkp-maint backup extract NAME k8s | kubectl diff -f -
"""

_FORMATS = {
    rows.FILE: stat.S_IFREG,
    rows.SPARSE: stat.S_IFREG,
    rows.HARDLINK: stat.S_IFREG,
    rows.FOLDER: stat.S_IFDIR,
    rows.SYMLINK: stat.S_IFLNK,
    rows.FIFO: stat.S_IFIFO,
}


# -- list ----------------------------------------------------------------------------------------------------------------


def list_all(
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Also its size, how long it took, the one before it, run and notes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Every backup, newest first. Also those that must not be believed, and where the chain of them is broken."""
    repository = Services().repository
    listed = list_backups(repository)
    broken, distrusted = chain_breaks(repository, listed)
    if as_json:
        print_json({"backups": [_listed_json(one) for one in listed], "chain": _chain_json(broken)})
        return
    if not listed:
        say("no backups yet; take one with: g3zkp-maint backup run full")
        return
    columns = ("name", "type", "outcome", "when", "stored", "new", "files", "parent")
    more = ("bytes", "took", "after", "run", "notes") if long else ()
    right = {"stored", "new", "files", "bytes", "took"}
    print_table((*columns, *more), [_listed_row(one, long=long) for one in listed], right=right)
    for one in listed:
        if one.manifest is None:
            say(f"invalid: {one.why}")
    for why in distrusted:
        say(f"invalid: {why}")
    for gap in broken:
        say(f"broken chain: {gap}")


def _listed_json(one: Listed) -> dict[str, Any]:
    base = {"name": str(one.name), "type": one.name.type, "at": one.name.at, "manifest_sha256": one.digest}
    found = one.manifest
    if found is None:
        return {**base, "outcome": "invalid", "why": one.why}
    return {
        **base,
        "outcome": found.outcome,
        "parent": found.parent,
        "run": found.run,
        "previous": found.previous.name if found.previous else None,
        "planned_at": found.planned_at,
        "sealed_at": found.sealed_at,
        "took_seconds": _took_seconds(found),
        "stored_bytes": stored_bytes(found),
        "new_bytes": _total(found, "new_bytes"),
        "bytes": _total(found, "bytes"),
        "entries": _total(found, "entries"),
        "notes": list(found.notes),
    }


def _chain_json(broken: tuple[Break, ...]) -> dict[str, Any]:
    gaps = [
        {"name": gap.name, "previous": gap.previous, "what": "removed" if gap.is_removed else "replaced"}
        for gap in broken
    ]
    return {"is_whole": not gaps, "breaks": gaps}


def _listed_row(one: Listed, *, long: bool) -> tuple[object, ...]:
    head = (one.name, one.name.type)
    found = one.manifest
    if found is None:
        return (*head, "INVALID", one.name.at, *[None] * (9 if long else 4))
    new, size = human_bytes(_total(found, "new_bytes")), human_bytes(stored_bytes(found))
    row = (*head, found.outcome, one.name.at, size, new, _total(found, "entries"), found.parent)
    notes = "; ".join(found.notes) or None
    if not long:
        return row
    seconds = _took_seconds(found)
    took = None if seconds is None else human_seconds(seconds)
    previous = found.previous.name if found.previous else None
    return (*row, human_bytes(_total(found, "bytes")), took, previous, found.run, notes)


def _took_seconds(manifest: Manifest) -> float | None:
    """From its plan to its end. An imported one was planned when the old script ran: of that nothing is known."""
    if manifest.run.startswith(RUN_PREFIX):
        return None
    return round((manifest.sealed_at - manifest.planned_at).total_seconds(), 3)


def _total(manifest: Manifest, count: str) -> int:
    return sum(getattr(component.counts, count) for component in manifest.components)


# -- show ----------------------------------------------------------------------------------------------------------------


def show(name: Name, as_json: AsJson = False) -> None:
    """What a backup's manifest says. Its components, its archives and where they are, who signed it."""
    manifest = manifest_of(Services().repository, name)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    names = ("name", "type", "outcome", "run", "parent", "planned_at", "sealed_at", "recipients", "notes")
    signer = manifest.signature.signer if manifest.signature else None
    previous = manifest.previous.name if manifest.previous else None
    print_facts({**{name: getattr(manifest, name) for name in names}, "previous": previous, "signer": signer})
    say("")
    print_table(
        ("component", "kind", "files", "bytes", "new", "not as it was", "facts"),
        [_component_row(component) for component in manifest.components],
        right={"files", "bytes", "new"},
    )
    say("")
    print_table(
        ("archive", "size", "plain", "entries", "backup", "sha256"),
        [_archive_row(archive) for archive in manifest.archives],
        right={"size", "plain", "entries"},
    )


def _component_row(component: Component) -> tuple[object, ...]:
    counts = component.counts
    notes = ", ".join(f"{number} {note}" for note, number in sorted(counts.notes.items())) or None
    facts = " ".join(f"{name}={value}" for name, value in component.facts.items()) or None
    sizes = human_bytes(counts.bytes), human_bytes(counts.new_bytes)
    return (component.name, component.kind, counts.entries, *sizes, notes, facts)


def _archive_row(archive: Archive) -> tuple[object, ...]:
    sizes = human_bytes(archive.size), human_bytes(archive.plain_size)
    return (archive.key, *sizes, archive.entries, archive.backup, archive.sha256)


# -- ls ------------------------------------------------------------------------------------------------------------------


def ls(
    name: Name,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="Only this one and what is below it.")] = "",
    component: Annotated[str | None, typer.Option("--component", "-c", help="Only of this component.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The files in a backup, like `ls -l`; times in UTC. Needs the manifest identity, or the recovery identity."""
    repository = Services().repository
    manifest = manifest_of(repository, name)
    wanted = escape(os.fsencode(path.rstrip("/")))
    shown = 0
    for row in rows_of(repository, manifest, component):
        if not wanted or row.path == wanted or row.path.startswith(wanted + "/"):
            shown += 1
            sys.stdout.write((_row_json(row) if as_json else _row_line(row)) + "\n")
    if path and not shown:
        raise BadInput(f"{name} holds no path {path!r}; paths are relative to the messenger's data folder")


def rows_of(repository: Repository, manifest: Manifest, component: str | None = None) -> Iterator[Row]:
    """Those of all components of files, or of one."""
    if component is not None:
        yield from repository.rows(manifest, component)
        return
    for found in manifest.components:
        if found.index is not None:
            yield from repository.rows(manifest, found.name)


def _row_line(row: Row) -> str:
    path = printable(row.path)
    if row.kind == rows.LEFT_OUT:
        return f"{'?---------':<10} {'-':>7} {'-':>7} {'-':>13} {'-':<17} {path} (left out: {printable(row.link)})"
    when = datetime.fromtimestamp(row.mtime_ns / 1e9, UTC)
    mode = stat.filemode(_FORMATS[row.kind] | row.mode)
    arrow = " -> " if row.kind == rows.SYMLINK else " == " if row.kind == rows.HARDLINK else ""
    end = arrow + printable(row.link) if arrow else ""
    return f"{mode} {row.uid:>7} {row.gid:>7} {row.size:>13} {when:%Y-%m-%d %H:%MZ} {path}{end}"


def _row_json(row: Row) -> str:
    return json.dumps({name: getattr(row, name) for name in row.__struct_fields__})


# -- verify --------------------------------------------------------------------------------------------------------------


def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The backup.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest one.")] = False,
    mode: Annotated[str, typer.Option("--mode", metavar="quick|full", help="Sizes, or every stored byte.")] = "quick",
    second: Annotated[bool, typer.Option("--second-store", help="The copy in the second store.")] = False,
    as_json: AsJson = False,
) -> None:
    """Whether a backup is whole. That includes all that a restore of it needs from earlier ones; exit code 1 when not."""
    how = VerifyMode.parse(mode)
    if (name is None) is not latest:
        raise BadInput("say which backup: its NAME, or --latest, and not both")
    services = Services()
    repository = services.second_repository if second else services.primary_repository
    manifest = repository.manifest(name if name is not None else newest(repository))
    total = sum(found.size for found in verification.needed(manifest)) if how is VerifyMode.FULL else None
    with progress("verify", total, quiet=as_json) as shown:
        found = verification.verify(repository, manifest, how, progress=shown)
    facts = {key: getattr(found, key) for key in ("name", "mode", "objects", "bytes", "problems")}
    lost = touched(repository, manifest, found.damaged)
    if as_json:
        print_json({**facts, "is_whole": found.is_whole, "touched": [dataclasses.asdict(one) for one in lost]})
    else:
        print_facts({**facts, "touched": [str(one) for one in lost], "whole": "yes" if found.is_whole else "no"})
    if not found.is_whole:
        raise ArchiveCorrupt(
            f"{manifest.name} is not whole ({len(found.problems)} of {found.objects} objects): do not rely on it, and "
            "take a full backup now"
        )


# -- extract -------------------------------------------------------------------------------------------------------------


def extract(
    name: Name,
    component: Annotated[str, typer.Argument(help="One that is a single object: redis, k8s.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file, that only you can read. Default: into a pipe.")
    ] = None,
) -> None:
    """A dump out of a backup, in the clear. Of Redis as RDB, of the cluster's objects as YAML; needs the recovery identity."""
    repository = Services().repository
    plain = read_object(repository, manifest_of(repository, name), component)
    if output is not None:
        copy_to_file(plain, output)
        say(f"wrote {output}; it holds secrets in the clear: remove it when it has served")
        return
    _refuse_all_but_pipes()
    for piece in plain:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _refuse_all_but_pipes() -> None:
    """A terminal keeps what it shows, and a redirection makes a file that others may read."""
    mode = os.fstat(sys.stdout.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        raise BadInput("this holds secrets: write it to a file with -o FILE (only you can read that), or into a pipe")
