"""The crypto fleet: it may decrypt and overwrite. Restores, drills, key rotation and certificates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from g3zkp_maint.coordination.lease import RESOURCES, STORE, Mode
from g3zkp_maint.operations import certificates, forsaken, rotation
from g3zkp_maint.operations import drill as drills
from g3zkp_maint.operations import restore as operations
from g3zkp_maint.operations.certificates import RollOutRequest
from g3zkp_maint.operations.restore import RestoreRequest
from g3zkp_maint.operations.rotation import RotationRequest
from workers.task import call_key, conducted, maintenance_task, services
from workers.upkeep import canary_arrived

EVERYTHING = dict.fromkeys(RESOURCES, Mode.EXCLUSIVE)


@maintenance_task("crypto.plan_restore")
def plan_restore(
    self: Any,  # noqa: ARG001 - part of the task's face
    name: str,
    components: Sequence[str] = (),
    *,
    paths: Sequence[str] = (),
    safety: bool = True,
) -> Any:
    """What `restore` would do, with the token that confirms it. Touches nothing, and keeps no run record."""
    request = RestoreRequest(name, None, tuple(components), safety, paths=tuple(paths))
    return operations.plan(services(), request)


@maintenance_task("crypto.restore")
def restore(
    self: Any,
    name: str,
    components: Sequence[str] = (),
    *,
    paths: Sequence[str] = (),
    confirm: str | None = None,
    safety: bool = True,
    force: bool = False,
    reason: str = "",
    slot: str | None = None,
) -> Any:
    """Restores the messenger from the backup `name`; with `paths`, only what those globs match. `confirm` is the token
    that `plan_restore` gives."""
    request = RestoreRequest(name, confirm, tuple(components), safety, force, reason, tuple(paths))
    key = slot or call_key(self)
    return conducted(self, key, partial(operations.restore, services(), request, key), wants=EVERYTHING)


@maintenance_task("crypto.rotate_keys")
def rotate_keys(
    self: Any,
    types: Sequence[str] = (),
    *,
    force: bool = False,
    reason: str = "",
    dry_run: bool = False,
    slot: str | None = None,
) -> Any:
    """Rotates the messenger's keys that are due, with `force` all of `types` (none given: all there are). Outside of a
    maintenance window it needs `force` and a `reason`."""
    request = RotationRequest.of(types, force=force, reason=reason)
    key = slot or call_key(self)
    if dry_run:
        return conducted(self, key, partial(rotation.dry_run, services(), request))
    return conducted(self, key, partial(rotation.rotate, services(), request, key), wants=rotation.WANTS)


@maintenance_task("crypto.check_certificates")
def check_certificates(self: Any, *, slot: str | None = None) -> Any:
    """Looks at every certificate, and has those renewed that end soon where cert-manager can."""
    key = slot or call_key(self)
    return conducted(self, key, partial(certificates.check, services(), key))


@maintenance_task("crypto.renew_certificate")
def renew_certificate(self: Any, secret: str, *, slot: str | None = None) -> Any:
    """Has cert-manager renew the certificate of that Secret now, and waits for the new one."""
    return conducted(self, slot, partial(certificates.renew, services(), secret))


@maintenance_task("crypto.roll_out_certificates")
def roll_out_certificates(self: Any, *, force: bool = False, reason: str = "", slot: str | None = None) -> Any:
    """Restarts, once, what runs with a certificate that is no longer in its Secret. Outside of a maintenance window it
    needs `force` and a `reason`."""
    request = RollOutRequest(force, reason)
    return conducted(self, slot, partial(certificates.roll_out, services(), request), wants=certificates.WANTS)


@maintenance_task("crypto.drill")
def drill(self: Any, name: str | None = None, *, slot: str | None = None) -> Any:
    """Restores a backup (None: the newest) for proof, into a scratch folder. Fails where a check fails; the evidence is
    in the store either way."""
    key = slot or call_key(self)
    return conducted(self, key, partial(drills.drill, services(), name, key), wants={STORE: Mode.SHARED})


@maintenance_task("crypto.sweep_helpers", ignore_result=True)
def sweep_helpers(self: Any, *, slot: str | None = None) -> Any:  # noqa: ARG001 - every calendar task is given its slot
    """Helper pods of restores that nobody goes on with are removed. Keeps no run record."""
    return {"swept": forsaken.sweep(services())}


@maintenance_task("crypto.canary", ignore_result=True)
def canary(self: Any, *, slot: str | None = None) -> Any:
    """Shows that this queue is consumed, and how fast."""
    return canary_arrived(self, slot)
