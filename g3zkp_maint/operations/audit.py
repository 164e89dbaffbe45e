"""The security scan: facts gathered by the ports of this process, checks run on them, and what people are told of it."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from g3zkp_maint.audit import memory, sources
from g3zkp_maint.audit import waivers as waiving
from g3zkp_maint.audit.comparison import Comparison, compare
from g3zkp_maint.audit.facts import Facts, Limits
from g3zkp_maint.audit.gathering import Seen, Source, gather
from g3zkp_maint.audit.memory import Memory
from g3zkp_maint.audit.registry import SCAN
from g3zkp_maint.audit.report import Report
from g3zkp_maint.audit.rights import readers
from g3zkp_maint.audit.scan import Looked, look
from g3zkp_maint.audit.waivers import Weighed
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import MaintenanceError
from g3zkp_maint.rotation.site import all_standings, intervals

_KEEP_DAYS = 366


def scan(services: Services, slot: str, held: Held) -> dict[str, Any]:
    """The daily one: journaled, kept for the next, and told. What is found fails no run; a notice that does not go out
    goes with the next scan. Raises SettingsError for waivers that make no sense."""
    with held.step("scan") as step:
        before = recall(services)
        report = examine(services, before)
        step.outcome = "ok" if report.passed else "failed"
        step.note(**report.summary())
    held.guard.verify()
    told = memory.still_told(report, before)
    memory.keep(_checkpoint(services), report, told)
    _tell(services, report, before, slot, held)
    return {"outcome": "ok", **report.summary()}


def examine(services: Services, before: Memory | None) -> Report:
    """Looks, weighs by the waivers, and compares with `before`. Reads only."""
    settings = services.settings.audit
    waivers = waiving.read(settings.waivers) if settings.waivers else ()
    facts = facts_of(services)
    looked = look(SCAN, facts)
    weighed = waiving.weigh(looked.findings, waivers, sure=looked.sure, at=facts.at)
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


def facts_of(services: Services) -> Facts:
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
    empty = Facts(services.clock.now(), tuple(dict.fromkeys(namespaces)), settings.messenger.keys_secret, limits)
    return gather(empty, _sources(services, empty))


def recall(services: Services) -> Memory | None:
    """What the last daily scan found. Raises CoordinationUnavailable."""
    return memory.recall(_checkpoint(services))


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
        "backups": lambda: sources.backups(services.primary_repository),
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


def _keys(services: Services) -> Seen:
    settings, now = services.settings, services.clock.now()
    if settings.audit.look_into_secret:
        secret = services.platform.read_secret(settings.messenger.keys_secret)
        return sources.keys_by_secret(all_standings(secret, settings.rotation, now))
    return sources.keys_by_journal(services.journal, intervals(settings.rotation), now)


def _tell(services: Services, report: Report, before: Memory | None, slot: str, held: Held) -> None:
    due = memory.to_tell(report, before)
    if not due:
        return
    with suppress(MaintenanceError), held.step("notice") as step:
        told = memory.notice(due, slot=slot, at=report.at)
        done = services.notices.send_once(told)
        step.note(key=told.key, sent=len(done.sent), already=len(done.already))
        known = memory.still_told(report, before) | {one.digest for one in due}
        memory.keep(_checkpoint(services), report, known)


def _checkpoint(services: Services) -> RedisCheckpoint:
    return RedisCheckpoint(services.redis, "observe.security_scan", keep_days=_KEEP_DAYS)
