"""What the store tells of backups and drills. Reads manifests from the newest back to the newest whole full one, which is
a week's at most, and evidence of drills back to the newest that passed; one listing gives sizes."""

from __future__ import annotations

from collections.abc import Iterator

from g3zkp_maint.backup.evidence import Evidence, newest_first
from g3zkp_maint.backup.listing import stored_bytes
from g3zkp_maint.backup.manifest import Manifest, Outcome
from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.errors import ManifestInvalid, UnknownBackup
from g3zkp_maint.metrics.facts import DrillFacts, StoreFacts

#: Where no drill has passed for so long, older evidence is not read at each look.
_MOST_EVIDENCE = 60


def look_into_store(repository: Repository) -> StoreFacts:
    """Raises StoreUnavailable, KeyMaterialError."""
    survey = repository.survey()
    believed: list[Manifest] = []
    invalid = 0
    for manifest in _newest_first(repository, survey.names):
        if manifest is None:
            invalid += 1
            continue
        believed.append(manifest)
        if _is_whole(manifest) and manifest.type == BackupType.FULL:
            break
    whole = [manifest for manifest in believed if _is_whole(manifest)]
    full = [manifest for manifest in whole if manifest.type == BackupType.FULL]
    return StoreFacts(
        objects=survey.objects,
        bytes=survey.bytes,
        backups=len(survey.names),
        newest_at=whole[0].at.timestamp() if whole else 0.0,
        newest_full_at=full[0].at.timestamp() if full else 0.0,
        newest_stored_bytes=stored_bytes(whole[0]) if whole else 0,
        is_partial=bool(believed) and not _is_whole(believed[0]),
        invalid=invalid,
        drill=_drill(repository),
    )


def _newest_first(repository: Repository, names: list[BackupName]) -> Iterator[Manifest | None]:
    """None in the place of one that must not be believed."""
    for name in reversed(names):
        try:
            yield repository.manifest(str(name))
        except ManifestInvalid:
            yield None
        except UnknownBackup:  # deleted since it was listed
            continue


def _is_whole(manifest: Manifest) -> bool:
    return manifest.outcome == Outcome.OK


def _drill(repository: Repository) -> DrillFacts | None:
    last: Evidence | None = None
    passed_at = 0.0
    for read, kept in enumerate(newest_first(repository)):
        if kept.evidence is not None:
            last = last or kept.evidence
            passed_at = kept.evidence.drilled_at.timestamp() if kept.evidence.outcome == "ok" else 0.0
        if passed_at or read >= _MOST_EVIDENCE:
            break
    if last is None:
        return None
    return DrillFacts(
        at=last.drilled_at.timestamp(),
        passed_at=passed_at,
        passed=last.outcome == "ok",
        recovery_seconds=last.recovery_ms / 1000,
        recovery_point_seconds=last.recovery_point_seconds,
    )
