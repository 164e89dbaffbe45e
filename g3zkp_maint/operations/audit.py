"""The security scan and the monthly audit: facts gathered by the ports of this process, checks run on them, and what people
are told of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from g3zkp_maint.audit import memory, sources, thorough
from g3zkp_maint.audit import waivers as waiving
from g3zkp_maint.audit.comparison import Comparison, compare
from g3zkp_maint.audit.facts import Facts, Limits
from g3zkp_maint.audit.gathering import Seen, Source, gather
from g3zkp_maint.audit.least_rights import names_here
from g3zkp_maint.audit.memory import Memory
from g3zkp_maint.audit.registry import AUDIT, RULES, SCAN
from g3zkp_maint.audit.report import Report
from g3zkp_maint.audit.rights import readers
from g3zkp_maint.audit.scan import Looked, look
from g3zkp_maint.audit.waivers import Weighed
from g3zkp_maint.audit.whole import WholeFacts
from g3zkp_maint.backup.verify import VerifyMode
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import MaintenanceError
from g3zkp_maint.rotation.site import all_standings, intervals

F = TypeVar("F", bound=Facts)
_KEEP_DAYS = 366


SCAN_TASK = "observe.security_scan"
AUDIT_TASK = "observe.security_audit"


def scan(services: Services, slot: str, held: Held) -> dict[str, Any]:
    """The daily one: journaled, kept for the next, and told. What is found fails no run; a notice that does not go out
    goes with the next scan. Raises SettingsError for waivers that make no sense."""
    return {"outcome": "ok", **_performed(services, slot, held, whole=False).summary()}


def audit(services: Services, slot: str, held: Held) -> dict[str, Any]:
    """The monthly one: as the scan, and all that takes longer. Its run is `failed` where a critical finding counts, which
    is what the metric g3zkp_security_audit_passed tells."""
    report = _performed(services, slot, held, whole=True)
    return {"outcome": "ok" if report.passed else "failed", **report.summary()}


def _performed(services: Services, slot: str, held: Held, *, whole: bool) -> Report:
    checkpoint = _checkpoint(services, whole=whole)
    with held.step("audit" if whole else "scan") as step:
        before = memory.recall(checkpoint)
        report = examine(services, before, whole=whole)
        step.outcome = "ok" if report.passed else "failed"
        step.note(**report.summary())
    held.guard.verify()
    memory.keep(checkpoint, report, memory.still_told(report, before))
    _tell(services, report, before, slot, held, whole=whole)
    return report


def examine(services: Services, before: Memory | None, *, whole: bool = False) -> Report:
    """Looks, weighs by the waivers, and compares with `before`. With `whole` all that the monthly audit looks at. Reads
    only."""
    settings = services.settings.audit
    waivers = waiving.read(settings.waivers)
    facts, looked = _looked_at_all(services) if whole else _looked_at(services)
    known = {one.id for one in RULES}
    weighed = waiving.weigh(looked.findings, waivers, known=known, sure=looked.sure, at=facts.at)
    return Report(
        at=facts.at,
        findings=weighed.findings,
        waived=weighed.waived,
        ran=looked.ran,
        sure=looked.sure,
        skipped=looked.skipped,
        unseen=facts.unseen,
        comparison=_compared(before, weighed, looked) if before else None,
        readers=None if facts.objects is None else readers(facts),
    )


def _compared(before: Memory, weighed: Weighed, looked: Looked) -> Comparison:
    """What is borne now is not gone."""
    borne = {one.finding.key for one in weighed.waived}
    known = [one for one in before.findings if one.key not in borne]
    sure = (*looked.sure, waiving.EXPIRED.id, waiving.UNMATCHED.id)
    return compare(known, weighed.findings, sure=sure, since=before.at)


def _looked_at(services: Services) -> tuple[Facts, Looked]:
    facts = facts_of(services, Facts)
    return facts, look(SCAN, facts)


def _looked_at_all(services: Services) -> tuple[Facts, Looked]:
    scanned = replace(facts_of(services, WholeFacts), names=names_here(services.settings))
    facts = gather(scanned, _thorough_sources(services, scanned))
    return facts, look(AUDIT, facts)


def facts_of(services: Services, kind: type[F]) -> F:
    """As it is now, as far as this process may see it."""
    settings = services.settings
    audit = settings.audit
    in_cluster = settings.platform.kind == "kubernetes"
    namespaces = (settings.platform.namespace, audit.fleets_namespace) if in_cluster else (settings.platform.namespace,)
    limits = Limits(
        backup_age=timedelta(hours=audit.backup_hours),
        drill_age=timedelta(days=audit.drill_days),
        key_grace=timedelta(days=audit.key_grace_days),
        administrators=audit.administrators,
        readers=audit.readers,
        commanders=audit.commanders,
    )
    empty = kind(services.clock.now(), tuple(dict.fromkeys(namespaces)), settings.messenger.keys_secret, limits)
    return gather(empty, _sources(services, empty))


def recall(services: Services, *, whole: bool = False) -> Memory | None:
    """What the last daily scan found, or the last monthly audit. Raises CoordinationUnavailable."""
    return memory.recall(_checkpoint(services, whole=whole))


def _sources(services: Services, empty: Facts) -> dict[str, Source]:
    settings = services.settings
    audit = settings.audit
    folder = settings.messenger.data_path / "keys"
    since = empty.at - timedelta(hours=audit.log_hours)
    found: dict[str, Source] = {
        "objects": lambda: sources.objects(services.inspection, empty.namespaces, in_cluster=audit.look_into_cluster),
        "files": lambda: sources.files(services.platform, folder, seconds=audit.answer_seconds),
        "redis": lambda: sources.redis_servers(
            settings.redis.url.get_secret_value(), services.platform if audit.look_into_redis else None
        ),
        "keys": partial(_keys, services),
        "backups": lambda: sources.backups(services.primary_repository, every=isinstance(empty, WholeFacts)),
        "accesses": "audit.log names no file",
    }
    if settings.platform.kind != "kubernetes":
        found["objects"] = "the messenger runs in no cluster (platform.kind=local): there is none of it"
    if not audit.look_into_files:
        found["files"] = "audit.look_into_files is off"
    if audit.log is not None:
        found["accesses"] = partial(
            sources.accesses, audit.log, since=since, most_bytes=audit.log_bytes, namespaces=empty.namespaces
        )
    return found


def _thorough_sources(services: Services, scanned: WholeFacts) -> dict[str, Source]:
    settings, audit = services.settings, services.settings.audit
    objects = tuple(one.name for one in settings.backup.components if one.kind == "kubernetes")
    npm = services.platform if audit.look_into_npm else None
    found: dict[str, Source] = {
        "secrets": lambda: thorough.secret_names(services.platform, settings.platform.namespace),
        "verified": lambda: thorough.verified(
            services.primary_repository, VerifyMode.parse(audit.verify), most_bytes=audit.verify_bytes
        ),
        "journal": lambda: thorough.journal_chain(services.journal),
        "restorable": lambda: thorough.restorable(services.repository, services.platform, objects),
        "vulnerabilities": lambda: thorough.vulnerabilities(scanned.objects, npm, seconds=audit.scanner_seconds),
    }
    if settings.platform.kind != "kubernetes":
        found["secrets"] = "the messenger runs in no cluster (platform.kind=local)"
    elif not audit.look_into_secret:
        found["secrets"] = "audit.look_into_secret is off"
    if not objects or settings.platform.kind != "kubernetes":
        found["restorable"] = "no objects of a cluster are backed up"
    elif settings.keys.recovery_identity is None:
        found["restorable"] = "this process has no recovery identity (keys.recovery_identity), and opens no archive"
    return found


def _keys(services: Services) -> Seen:
    settings, now = services.settings, services.clock.now()
    if settings.audit.look_into_secret:
        secret = services.platform.read_secret(settings.messenger.keys_secret)
        return sources.keys_by_secret(all_standings(secret, settings.rotation, now))
    return sources.keys_by_journal(services.journal, intervals(settings.rotation), now)


def _tell(services: Services, report: Report, before: Memory | None, slot: str, held: Held, *, whole: bool) -> None:
    due = memory.to_tell(report, before)
    if not due:
        return
    with suppress(MaintenanceError), held.step("notice") as step:
        told = memory.notice(due, slot=slot, at=report.at, whole=whole)
        done = services.notices.send_once(told)
        step.note(key=told.key, sent=len(done.sent), already=len(done.already))
        known = memory.still_told(report, before) | {one.digest for one in due}
        memory.keep(_checkpoint(services, whole=whole), report, known)


def _checkpoint(services: Services, *, whole: bool) -> RedisCheckpoint:
    return RedisCheckpoint(services.redis, AUDIT_TASK if whole else SCAN_TASK, keep_days=_KEEP_DAYS)
