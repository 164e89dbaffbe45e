"""Which backup is meant: by its name, the latest, the newest as of a time, or the one that a restore took first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from g3zkp_maint.backup.manifest import Manifest, Outcome
from g3zkp_maint.backup.restore_plan import SAFETY_PREFIX
from g3zkp_maint.errors import ManifestInvalid, UnknownBackup

LATEST = "latest"


def choose(found: Iterable[Manifest | ManifestInvalid], *, at: datetime | None = None) -> Manifest:
    """The newest that is signed and ok; with `at`, of those planned at or before that time.

    By the moment at which the data was looked at, not by the name: a run that was late bears its slot's time, and holds
    what was there hours after it. Safety backups do not count, as they may hold some components only. Raises
    UnknownBackup.
    """
    fit = [one for one in found if not isinstance(one, ManifestInvalid) and _counts(one, at)]
    if not fit:
        when = f" of {at:%Y-%m-%d %H:%M:%S}Z or before" if at else ""
        raise UnknownBackup(f"there is no valid and complete backup{when}; `g3zkp-maint backup list` shows all")
    return max(fit, key=lambda one: (one.planned_at, one.name))


def find_safety(found: Iterable[Manifest | ManifestInvalid], run: str) -> Manifest:
    """The backup that the restore `run` took of what was there before it. Raises UnknownBackup."""
    for one in found:
        if not isinstance(one, ManifestInvalid) and one.run == f"{SAFETY_PREFIX}{run}":
            return one
    raise UnknownBackup(
        f"no safety backup of a restore {run!r} is in the store: it took none (--no-safety, or nothing was there), it "
        "never came so far, or the backup was pruned; `g3zkp-maint runs --task crypto.restore` lists restores"
    )


def _counts(manifest: Manifest, at: datetime | None) -> bool:
    is_safety = manifest.run.startswith(SAFETY_PREFIX)
    return manifest.outcome is Outcome.OK and not is_safety and (at is None or manifest.planned_at <= at)
