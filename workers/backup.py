"""Backups, as a canvas: plan, then the archives side by side, seal, verify, report.

from workers.backup import run
run.delay("full").get()        # {"name": "g3zkp_full_…", "outcome": "ok", …}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog
from celery import chain, group
from kombu.exceptions import OperationalError

from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.verify import VerifyMode
from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.calendar.precedence import rival
from g3zkp_maint.coordination.lease import DATA, STORE, Mode
from g3zkp_maint.coordination.occasion import HandOver, Held
from g3zkp_maint.operations import backup as operations
from workers.app import app
from workers.task import call_key, conducted, maintenance_task, part, services, superseded
from workers.upkeep import canary_arrived

RUN = "backup.run"
#: The store as well: prune, which wants it alone, must not take what a backup under way is about to refer to.
WANTS = {DATA: Mode.SHARED, STORE: Mode.SHARED}

_log = structlog.get_logger(__name__)


@maintenance_task(RUN)
def run(self: Any, type: str = "incremental", *, slot: str | None = None) -> Any:
    """Makes a backup, `full` or `incremental`. The result is that of the whole canvas: a small dict with its name."""
    kind = BackupType.parse(type)
    calendar = load_catalog(services().settings.beat.calendar).everything
    stronger = rival(calendar, task=RUN, args=(str(kind),), slot=slot)
    if stronger is not None:
        return superseded(self, slot, by=stronger.name, label=str(kind))
    key = slot or call_key(self)
    begun = conducted(
        self, key, partial(operations.plan, services(), kind, key), wants=WANTS, at_failure=_after_failure
    )
    return self.replace(_canvas(key, begun)) if isinstance(begun, HandOver) else begun


def _canvas(key: str, begun: HandOver) -> Any:
    name, archives = begun.payload["name"], begun.payload["archives"]
    common = {"slot": key, "relay": begun.relay.as_json() if begun.relay else {}}
    return chain(
        group(archive.si(name, one, **common) for one in archives),
        seal.si(name, **common),
        verify_sealed.si(name, **common),
        # It takes the id of the run's own message: without this Flower and logs would show that under its name.
        report.si(name, **common).set(shadow=RUN),
    )


@maintenance_task("backup.archive")
def archive(self: Any, name: str, archive: str, *, slot: str, relay: Mapping[str, Any]) -> Any:
    """Stores one archive of a backup that was planned. One that fails is tried again alone."""
    with part(self, slot, archive, wants=WANTS, run=RUN, relay=relay, at_failure=_after_failure) as held:
        return operations.store(services(), name, archive, held)


@maintenance_task("backup.seal")
def seal(self: Any, name: str, *, slot: str, relay: Mapping[str, Any]) -> Any:
    """Writes index and manifest, with which the backup begins to exist."""
    return _step(self, slot, partial(operations.seal, services(), name), relay)


@maintenance_task("backup.verify_sealed")
def verify_sealed(self: Any, name: str, *, slot: str, relay: Mapping[str, Any]) -> Any:
    """Looks at every object of the new backup once more."""
    return _step(self, slot, partial(operations.verify_sealed, services(), name), relay)


@maintenance_task("backup.report")
def report(self: Any, name: str, *, slot: str, relay: Mapping[str, Any]) -> Any:
    """Ends the run: the messenger's log, and the result. What follows has runs of its own."""
    result = _step(self, slot, partial(operations.report, services(), name), relay)
    for followup in operations.followups(result, slot, second=services().settings.second_store):
        _enqueue(followup)
    return result


def _enqueue(followup: operations.Followup) -> None:
    """The backup is made and on record: it does not fail for what comes after. By name, as it may be another fleet's."""
    try:
        app.send_task(followup.task, kwargs=followup.kwargs)
    except OperationalError as error:
        _log.error("followup-not-enqueued", task=followup.task, error=type(error).__name__, **followup.kwargs)


def _step(task: Any, slot: str, body: Callable[[Held], Any], relay: Mapping[str, Any]) -> Any:
    """A later step of the canvas. What it hands over is for nobody: the next ones have it already, in their arguments."""
    result = conducted(task, slot, body, wants=WANTS, run=RUN, relay=relay, at_failure=_after_failure)
    return dict(result.payload) if isinstance(result, HandOver) else result


def _after_failure(held: Held) -> None:
    operations.after_failure(services(), held)


@maintenance_task("backup.verify")
def verify(self: Any, name: str, mode: str = "quick", *, slot: str | None = None) -> Any:
    """Verifies a backup: `quick` (sizes) or `full` (every stored byte). Fails with all that is wrong."""
    return conducted(self, slot, partial(operations.verify, services(), name, VerifyMode.parse(mode)))


@maintenance_task("backup.prune")
def prune(self: Any, dry_run: bool = False, force: bool = False, *, slot: str | None = None) -> Any:
    """Retention: marks, deletes what was marked long enough, and sweeps leftovers. `force` lifts the limit on the share."""
    body = partial(operations.prune, services(), dry_run=dry_run, force=force)
    return conducted(self, slot, body, wants={} if dry_run else {STORE: Mode.EXCLUSIVE})


@maintenance_task("backup.prune_second")
def prune_second(self: Any, dry_run: bool = False, force: bool = False, *, slot: str | None = None) -> Any:
    """As `backup.prune`, in the second store: a run of its own, so that neither fails for the other."""
    body = partial(operations.prune, services(), dry_run=dry_run, force=force, second=True)
    return conducted(self, slot, body, wants={} if dry_run else {STORE: Mode.EXCLUSIVE})


@maintenance_task("backup.copy")
def copy(self: Any, name: str, *, lacking: bool = False, slot: str | None = None) -> Any:
    """Copies a backup into the second store; with `lacking` also those that were to be copied and were not. What is there
    already stays; so it may be repeated."""
    body = operations.copy_and_make_up if lacking else operations.copy
    return conducted(self, slot, partial(body, services(), name), wants={STORE: Mode.SHARED})


@maintenance_task("backup.reread")
def reread(self: Any, *, slot: str | None = None) -> Any:
    """Reads today's part of all that is stored, so that each byte is read again within `verify.reread_days`."""
    return conducted(self, slot, partial(operations.reread, services()), wants={STORE: Mode.SHARED})


@maintenance_task("backup.reread_second")
def reread_second(self: Any, *, slot: str | None = None) -> Any:
    """As `backup.reread`, of the copies in the second store, with a record of its own of what was read when."""
    return conducted(self, slot, partial(operations.reread_second, services()), wants={STORE: Mode.SHARED})


@maintenance_task("backup.canary", ignore_result=True)
def canary(self: Any, *, slot: str | None = None) -> Any:
    """Shows that this queue is consumed, and how fast."""
    return canary_arrived(self, slot)
