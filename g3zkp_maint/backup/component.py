"""The shard of a component that is one object: the Redis dump, or the cluster's objects as YAML."""

from __future__ import annotations

from collections.abc import Iterator

from blake3 import blake3

from g3zkp_maint.backup.manifest import Archive, Counts
from g3zkp_maint.backup.object_plan import in_order
from g3zkp_maint.backup.objects import as_yaml, kept
from g3zkp_maint.backup.plan import BackupPlan, Shard
from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.shard import ShardDone, archive_files, find_done, put_done, store_archive
from g3zkp_maint.errors import SourceError
from g3zkp_maint.platforms.base import Platform


def archive_shard(workshop: Workshop, plan: BackupPlan, archive: str) -> ShardDone:
    """Stores one archive of the plan, unless it is stored already. Raises BadInput-like KeyError for an unknown one."""
    shard = plan.shard(archive)
    if shard.kind == "files":
        return archive_files(workshop, plan, shard)
    done = find_done(workshop.repository, plan, shard)
    if done is not None:
        return done
    workshop.progress.step(shard.archive)
    return _archive_object(workshop, plan, shard)


def _archive_object(workshop: Workshop, plan: BackupPlan, shard: Shard) -> ShardDone:
    platform = _platform(workshop, shard)
    facts: dict[str, int | str] = {}
    hashers: list[blake3] = []

    def produce() -> Iterator[bytes]:
        hashers.append(blake3())
        for piece in _redis(workshop, platform, facts) if shard.kind == "redis" else _objects(platform, facts):
            workshop.guard.ensure_held()
            hashers[-1].update(piece)
            workshop.progress.advance(len(piece))
            yield piece

    key, sealed = store_archive(workshop.repository, plan, shard, ".zst.age", produce)
    archive = Archive(
        id=shard.id,
        backup=plan.name,
        component=shard.component,
        key=key,
        size=sealed.size,
        sha256=sealed.digest,
        plain_size=sealed.plain_size,
        entries=1,
        blake3=hashers[-1].hexdigest(),
    )
    counts = Counts(entries=1, bytes=sealed.plain_size, new_bytes=sealed.plain_size)
    done = ShardDone(archive=archive, refers_to=(shard.id,), counts=counts, facts=facts)
    return put_done(workshop, plan, shard, done)


def _platform(workshop: Workshop, shard: Shard) -> Platform:
    if workshop.platform is None:
        raise SourceError(f"component {shard.component} needs the platform where the messenger runs; set platform.kind")
    return workshop.platform


def _redis(workshop: Workshop, platform: Platform, facts: dict[str, int | str]) -> Iterator[bytes]:
    url = workshop.settings.redis_url
    if url is None:
        raise SourceError("component redis needs backup.redis_url, the address of the messenger's Redis; set it")
    # Backups of files alone do not pay for Redis's client at their start.
    from g3zkp_maint.backup.redis_dump import dump  # noqa: PLC0415

    deadline_seconds = workshop.settings.bgsave_seconds
    yield from dump(platform, url.get_secret_value(), facts, clock=workshop.clock, deadline_seconds=deadline_seconds)


def _objects(platform: Platform, facts: dict[str, int | str]) -> Iterator[bytes]:
    objects = in_order(kept(platform.objects()))
    facts["objects"] = len(objects)
    yield as_yaml(objects)
