"""What is told of a finished backup: the run's result, and a line in the messenger's own log."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.platforms.base import MESSENGER, Platform


def summary(manifest: Manifest) -> dict[str, Any]:
    """A small JSON document: names, outcome and numbers; sizes in bytes. `stored_bytes` is what this backup added."""
    counts = [component.counts for component in manifest.components]
    notes: dict[str, int] = {}
    for count in counts:
        for note, times in count.notes.items():
            notes[note] = notes.get(note, 0) + times
    return {
        "name": manifest.name,
        "type": str(manifest.type),
        "outcome": str(manifest.outcome),
        "parent": manifest.parent,
        "entries": sum(count.entries for count in counts),
        "bytes": sum(count.bytes for count in counts),
        "new_bytes": sum(count.new_bytes for count in counts),
        "stored_bytes": sum(archive.size for archive in manifest.own_archives()),
        "notes": notes,
    }


def append_to_log(platform: Platform, data_path: PurePosixPath, manifest: Manifest) -> None:
    """Appends one JSON line to `logs/backup.log` in the messenger's data folder, as the operators' script did.

    Raises PlatformError; whoever calls decides that a backup does not fail for it.
    """
    line = {
        "type": "backup",
        "name": manifest.name,
        "status": "success" if manifest.outcome == "ok" else str(manifest.outcome),
        "timestamp": f"{manifest.at:%Y%m%d_%H%M%S}",
    }
    path = data_path / "logs" / "backup.log"
    platform.exec(MESSENGER, ["mkdir", "-p", str(path.parent)]).read_all()
    platform.exec(MESSENGER, ["tee", "-a", str(path)], stdin=[json.dumps(line).encode() + b"\n"]).read_all()
