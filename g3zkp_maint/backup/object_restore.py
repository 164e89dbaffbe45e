"""The cluster's objects, brought back one after another, each reported: created, changed, same, refused.

An object that the server refuses for good does not keep the others from coming back; it is named with the reason. What may
pass (the server is away) stops the work, which is begun again: applying twice is applying once. What is in an object
afterwards is what is in the backup: what others have added to it since is taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import yaml

from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.object_plan import Outcome, PlannedObject, differences, plan_objects
from g3zkp_maint.backup.object_reports import ObjectReport, ObjectReports
from g3zkp_maint.backup.objects import Document, cleaned, exact, identity
from g3zkp_maint.backup.one_object import read_object
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.coordination.checkpoint import MemoryCheckpoint
from g3zkp_maint.errors import ArchiveCorrupt, Conflict, PermanentError
from g3zkp_maint.platforms.base import Platform

_NAMED_FIELDS = 5
_TRIES = 5


def read_objects(repository: Repository, manifest: Manifest, component: str) -> list[Document]:
    """The documents of a backup's component; they hold Secrets. Raises ArchiveCorrupt, and what `read_object` raises."""
    text = b"".join(read_object(repository, manifest, component))
    return parse_objects(text, what=f"component {component} of {manifest.name}")


def parse_objects(text: bytes, *, what: str) -> list[Document]:
    """The documents of a backup's object archive. Raises ArchiveCorrupt where it is no YAML of objects."""
    try:
        documents = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
        for one in documents:
            identity(one)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):  # their messages quote the text
        raise ArchiveCorrupt(
            f"{what} holds something that is no object; see it with g3zkp-maint backup extract"
        ) from None
    return documents


def preview(
    platform: Platform, wanted: Iterable[Document], *, held_down: Collection[str] = (), every: bool = False
) -> tuple[ObjectReport, ...]:
    """What a restore would do, by the server's own word: each apply is asked for as a dry run. With `every` also of those
    that are as they were, of which a restore leaves each alone: whether it could bring them back. Changes nothing."""
    plan = plan_objects(wanted, platform.objects(), held_down=held_down)
    return tuple(
        _tried(platform, one) if every and one.outcome is Outcome.SAME else _carry_out(platform, one, dry_run=True)
        for one in plan
    )


def _tried(platform: Platform, planned: PlannedObject) -> ObjectReport:
    try:
        platform.apply(planned.document, dry_run=True)
    except PermanentError as error:
        return ObjectReport(str(planned.identity), Outcome.REFUSED, str(error))
    return ObjectReport(str(planned.identity), Outcome.SAME)


def restore_objects(
    platform: Platform,
    wanted: Iterable[Document],
    *,
    ensure_held: Callable[[], None],
    held_down: Collection[str] = (),
    reports: ObjectReports | None = None,
) -> tuple[ObjectReport, ...]:
    """Applies what is other than in the backup. `reports` has those of the attempts before, and keeps these. Raises what
    `ensure_held` raises, before each object that is touched, and any TemporaryError of the platform."""
    kept, done = reports or ObjectReports(MemoryCheckpoint()), []
    for one in plan_objects(wanted, platform.objects(), held_down=held_down):
        ensure_held()
        # Before it is done: whoever is killed right after has no other chance.
        kept.record(ObjectReport(str(one.identity), one.outcome, _some(one.fields)))
        done.append(kept.record(_carry_out(platform, one, dry_run=False)))
    return tuple(done)


def _carry_out(platform: Platform, planned: PlannedObject, *, dry_run: bool) -> ObjectReport:
    name = str(planned.identity)
    if planned.outcome is Outcome.SAME:
        return ObjectReport(name, Outcome.SAME)
    try:
        after = _written(platform, planned, dry_run=dry_run)
    except PermanentError as error:
        return ObjectReport(name, Outcome.REFUSED, str(error))
    left = differences(planned.document, cleaned(after))
    reason = f"not as in the backup: {_some(left)}" if left else _some(planned.fields)
    # What this version of the cluster fills in by itself is there again afterwards.
    outcome = Outcome.SAME if planned.outcome is Outcome.CHANGED and left == planned.fields else planned.outcome
    return ObjectReport(name, outcome, reason)


def _written(platform: Platform, planned: PlannedObject, *, dry_run: bool) -> Document:
    """The object afterwards. Where an apply would leave in it what others have added, it is replaced instead: one write,
    and so one rollout, in either case."""
    document = planned.document
    if planned.outcome is Outcome.CREATED:
        return platform.apply(document, dry_run=dry_run)
    for last in range(_TRIES):
        would = platform.apply(document, dry_run=True)
        if not differences(document, cleaned(would)):
            return would if dry_run else platform.apply(document)
        try:
            return platform.replace(exact(document, would), dry_run=dry_run)
        except Conflict:
            # Controllers write to it all the time. That it is the same one is what counts.
            if last == _TRIES - 1:
                raise
    raise AssertionError("the loop returns or raises")


def _some(fields: tuple[str, ...]) -> str:
    more = len(fields) - _NAMED_FIELDS
    return ", ".join(fields[:_NAMED_FIELDS]) + (f" and {more} more" if more > 0 else "")
