"""Certificates: looked at, renewed where cert-manager can, told; and the restart of what runs with a former one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from g3zkp_maint.audit import waivers as waiving
from g3zkp_maint.audit.finding import Finding
from g3zkp_maint.audit.waivers import Waived, Weighed
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.certificates import telling
from g3zkp_maint.certificates.certificate import Chain
from g3zkp_maint.certificates.checks import find
from g3zkp_maint.certificates.endpoint import Endpoint
from g3zkp_maint.certificates.facts import Facts, Place
from g3zkp_maint.certificates.handshake import shake
from g3zkp_maint.certificates.places import places, unseen_hosts
from g3zkp_maint.certificates.plan import Renewal, Restart, first_seen, plan_renewals, plan_restart
from g3zkp_maint.certificates.rules import RULES
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.lease import WORKLOAD, Mode
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import (
    BadInput,
    CertificateUnreadable,
    DeadlineExceeded,
    LeaseLost,
    MaintenanceError,
    RenewalFailed,
)
from g3zkp_maint.lack import Lack
from g3zkp_maint.operations.windows import take_leave, work_of
from g3zkp_maint.platforms.base import MESSENGER, REDIS
from g3zkp_maint.windows.leave import Work

TASK = "crypto.check_certificates"
RENEW = "crypto.renew_certificate"
ROLL_OUT = "crypto.roll_out_certificates"
#: The leases of a restart. A look needs none.
WANTS = {WORKLOAD: Mode.EXCLUSIVE}
_POLL_SECONDS = 2.0
_KEEP_DAYS = 800


@dataclass(frozen=True, slots=True)
class Look:
    """What there is, what is wrong with it and what of that is borne (`audit.waivers`), what is to be renewed, and who runs
    with a former one."""

    facts: Facts
    findings: tuple[Finding, ...]
    waived: tuple[Waived, ...]
    renewals: tuple[Renewal, ...]
    restart: Restart

    def as_dict(self) -> dict[str, Any]:
        """For JSON; each certificate with its end."""
        return {
            "at": self.facts.at.isoformat(),
            "certificates": [_shown(one) for one in self.facts.places],
            "findings": [one.as_dict() for one in self.findings],
            "waived": [
                {**one.finding.as_dict(), "until": one.waiver.until.isoformat(), "reason": one.waiver.reason}
                for one in self.waived
            ],
            "renewals": [{"secret": one.secret, "how": one.reason} for one in self.renewals],
            "restart": self.restart.as_dict(),
            "unseen": {one.what: one.why for one in self.facts.unseen},
        }


# -- looking ---------------------------------------------------------------------------------------------------------------


def look(services: Services) -> Look:
    """Here and now; reads only. Raises CoordinationUnavailable, SettingsError for waivers that make no sense, and what the
    platform raises."""
    facts = _facts(services)
    weighed = _weighed(services, facts)
    renewals = plan_renewals(facts, within_days=services.settings.certificates.renew_days)
    known = _known(services)
    restart = plan_restart(facts, known, _told_by_hand(services, known))
    return Look(facts, weighed.findings, weighed.waived, renewals, restart)


def _weighed(services: Services, facts: Facts) -> Weighed:
    """The waivers of other checks are for the scan to judge; of ours one is about nothing only where all was seen."""
    ours = {one.id for one in RULES}
    waivers = [one for one in waiving.read(services.settings.audit.waivers) if one.check in ours]
    return waiving.weigh(find(facts), waivers, known=ours, sure=() if facts.unseen else ours, at=facts.at)


def check(services: Services, slot: str, held: Held) -> dict[str, Any]:
    """The monthly one: journaled, told, and what ends soon is renewed. What is found fails no run; a renewal that does
    not come does (RenewalFailed), after all else was done."""
    with held.step("look") as step:
        seen = look(services)
        step.note(certificates=len(seen.facts.places), findings=len(seen.findings), renewals=len(seen.renewals))
    failures = list(_renewed(services, seen, held))
    if any(one.certificate for one in seen.renewals):
        seen = look(services)
    held.guard.verify()
    known = {**_known(services), **first_seen(seen.facts, _known(services))}
    _checkpoint(services).save(known=known)
    _keep_and_tell(services, seen, slot, held)
    if failures:
        raise failures[0]
    return {"outcome": "ok", **seen.as_dict()}


def renew(services: Services, secret: str, held: Held) -> dict[str, Any]:
    """Has cert-manager renew the certificate of `secret`, whenever it ends. Raises BadInput where nobody can, and
    RenewalFailed."""
    place = next((one for one in _facts(services).places if one.secret == secret), None)
    if place is None:
        raise BadInput(f"there is no TLS Secret {secret!r}; `g3zkp-maint certificates list` shows those that are there")
    if not place.issuer:
        raise BadInput(f"no Certificate of cert-manager makes Secret {secret}: put a new certificate and key into it")
    held.guard.verify()
    with held.step(f"renew {secret}"):
        chain = _renew(services, place)
    return {"outcome": "ok", "secret": secret, "ends": chain.own.ends.isoformat()}


def ends(services: Services) -> Mapping[str, float]:
    """When each certificate ends that the last look saw, in seconds since the epoch. Raises CoordinationUnavailable."""
    found: dict[str, float] = _checkpoint(services).load().get("ends", {})
    return found


# -- the restart -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RollOutRequest:
    """With `force` and a `reason` outside of a window."""

    force: bool = False
    reason: str = ""


def roll_out(services: Services, request: RollOutRequest, held: Held) -> dict[str, Any]:
    """The weekly one: one restart of the workloads that run with a certificate which is no longer in its Secret, under the
    leases WANTS, in a maintenance window. Taken back where the new pods do not come up. Killed between the restart and its
    record, the next run restarts once more.

    It tells what it finds as the monthly look does: between two of those a certificate could come to its end unseen."""
    with held.step("plan") as step:
        seen = look(services)
        due = seen.restart
        step.note(secrets=",".join(due.secrets), workloads=",".join(due.workloads), others=",".join(due.others))
    held.guard.verify()
    _keep_and_tell(services, seen, f"roll-out:{held.started.isoformat()}", held)
    told = _told_by_hand(services, _known(services))
    if due.others and _tell_by_hand(services, due, held):
        told = {**told, **due.secrets}
    _checkpoint(services).save(by_hand=told)
    if due.workloads:
        _require_leave(services, due, request, held)
        with held.step("restart"):
            held.guard.verify()
            _restart(services, due)
    if due.secrets:
        held.guard.verify()
        _checkpoint(services).save(known={**_known(services), **due.secrets})
    return {"outcome": "ok", **due.as_dict()}


def _restart(services: Services, due: Restart) -> None:
    platform, seconds = services.platform, services.settings.platform.rollout_seconds
    rollout = platform.restart(due.workloads)
    try:
        platform.wait(rollout, seconds)
    except DeadlineExceeded:
        platform.wait(platform.undo(rollout), seconds)
        raise


def _require_leave(services: Services, due: Restart, request: RollOutRequest, held: Held) -> None:
    what = f"restarting {', '.join(due.workloads)} for new certificates"
    longest = 2 * services.settings.platform.rollout_seconds

    def work() -> Work:
        return work_of(
            services, ROLL_OUT, what, first_seconds=longest, first_basis="its time limits, as none has run yet"
        )

    take_leave(services, work, held, force=request.force, reason=request.reason)


# -- renewals --------------------------------------------------------------------------------------------------------------


def _renewed(services: Services, seen: Look, held: Held) -> Iterator[MaintenanceError]:
    """Renews what can be renewed from here; what fails keeps no other from its turn."""
    by_secret = {one.secret: one for one in seen.facts.places if one.secret}
    for renewal in seen.renewals:
        if not renewal.certificate:
            continue
        held.guard.verify()
        try:
            with held.step(f"renew {renewal.secret}") as step:
                chain = _renew(services, by_secret[renewal.secret])
                step.note(ends=chain.own.ends.isoformat())
        except LeaseLost:
            raise
        except MaintenanceError as error:
            yield error


def _renew(services: Services, place: Place) -> Chain:
    """Asks, and waits until the Secret holds another certificate that ends later. Raises RenewalFailed."""
    seconds = services.settings.certificates.renew_seconds
    until = services.clock.monotonic() + seconds
    services.issuer.ask(place.issuer)
    while True:
        now = next(
            (one.chain for one in _of_secrets(services, services.platform.objects()) if one.secret == place.secret),
            None,
        )
        if now is not None and _is_newer(now, place.chain):
            return now
        if services.clock.monotonic() >= until:
            raise RenewalFailed(
                f"Certificate {place.issuer} was to be renewed, and after {seconds:g} s Secret {place.secret} holds no newer "
                f"one; see `kubectl describe certificate {place.issuer}`"
            )
        time.sleep(_POLL_SECONDS)


def _is_newer(now: Chain, before: Chain | None) -> bool:
    return before is None or (now.own.fingerprint != before.own.fingerprint and now.own.ends > before.own.ends)


# -- facts -----------------------------------------------------------------------------------------------------------------


def _facts(services: Services) -> Facts:
    found: list[Place] = []
    unseen: list[Lack] = []
    endpoints = [Endpoint.parse(one) for one in services.settings.certificates.endpoints]
    if services.settings.platform.kind == "kubernetes":
        objects = services.platform.objects()
        found += _of_secrets(services, objects)
        found.append(_of_server(services))
        unseen += unseen_hosts(objects, {one.name for one in endpoints})
    else:
        unseen.append(Lack("Secrets and the cluster's certificate", "the messenger runs in no cluster"))
    found += [_of_endpoint(services, one) for one in endpoints]
    return Facts(services.clock.now(), tuple(found), tuple(unseen), services.settings.certificates.notice_days)


def _of_secrets(services: Services, objects: Sequence[Mapping[str, Any]]) -> tuple[Place, ...]:
    names = services.settings.platform.kubernetes
    workloads = {names.messenger: MESSENGER, names.redis: REDIS}
    return places(objects, services.settings.platform.namespace, workloads)


def _of_server(services: Services) -> Place:
    address = urlsplit(services.issuer.server())
    endpoint = Endpoint(address.hostname or "", address.port or 443, address.hostname or "")
    return _shaken(services, endpoint, services.issuer.authorities(), name="the API server")


def _of_endpoint(services: Services, endpoint: Endpoint) -> Place:
    ca_file = services.settings.certificates.ca_file
    return _shaken(services, endpoint, None if ca_file is None else str(ca_file), name=endpoint.shown)


def _shaken(services: Services, endpoint: Endpoint, ca_file: str | None, *, name: str) -> Place:
    seconds = services.settings.certificates.answer_seconds
    try:
        seen = shake(endpoint, ca_file=ca_file, seconds=seconds)
    except CertificateUnreadable as error:
        return Place(name, None, str(error), (endpoint.name,))
    return Place(name, Chain((seen.own,)), hosts=(endpoint.name,), distrust=seen.distrust)


def _shown(place: Place) -> dict[str, Any]:
    own = place.chain.own if place.chain else None
    return {
        "name": place.name,
        "ends": own.ends.isoformat() if own else None,
        "hosts": list(own.hosts) if own else [],
        "issuer": own.issuer if own else None,
        "cert_manager": place.issuer or None,
        "problem": place.problem or None,
    }


# -- what is kept, and told ------------------------------------------------------------------------------------------------


def _keep_and_tell(services: Services, seen: Look, slot: str, held: Held) -> None:
    ends = {one.name: one.chain.own.ends.timestamp() for one in seen.facts.places if one.chain}
    _checkpoint(services).save(ends=ends)
    _tell(services, seen, slot, held)


def _tell_by_hand(services: Services, due: Restart, held: Held) -> bool:
    """Whether people know; what could not be told is told by the next run."""
    with suppress(MaintenanceError), held.step("notice by hand"):
        services.notices.send_once(telling.restart_by_hand(due, at=services.clock.now()))
        return True
    return False


def _told_by_hand(services: Services, known: Mapping[str, str]) -> Mapping[str, str]:
    """By Secret, the fingerprint of which people were told; of one that no roll-out has met yet, as it is `known`."""
    return {**known, **_checkpoint(services).load().get("by_hand", {})}


def _tell(services: Services, seen: Look, slot: str, held: Held) -> None:
    checkpoint = _checkpoint(services)
    told = set(checkpoint.load().get("told", ())) & {telling.mark(one) for one in seen.findings}
    due = telling.untold(seen.findings, told)
    if due:
        with suppress(MaintenanceError), held.step("notice") as step:
            done = services.notices.send_once(telling.notice(due, slot=slot, at=seen.facts.at))
            step.note(sent=len(done.sent), already=len(done.already))
            told |= {telling.mark(one) for one in due}
    checkpoint.save(told=sorted(told))


def _known(services: Services) -> dict[str, str]:
    found: dict[str, str] = _checkpoint(services).load().get("known", {})
    return found


def _checkpoint(services: Services) -> RedisCheckpoint:
    return RedisCheckpoint(services.redis, TASK, keep_days=_KEEP_DAYS)
