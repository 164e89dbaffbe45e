"""Backups as the fleets run them: enqueued, deduplicated, superseded, waiting, failing."""

from __future__ import annotations

import json
import os

import pytest
from running_fleet import Fleet

from g3zkp_maint.coordination.run_record import RunState

pytestmark = pytest.mark.integration

WEDNESDAY = "2026-03-04T02:00Z"
SUNDAY = "2026-03-08T02:00Z"

README = """
import json
from workers.backup import run
print(json.dumps(run.delay("full").get(timeout=30)))
"""


def test_a_shell_enqueues_a_full_and_an_incremental_as_the_readme_shows(fleet: Fleet) -> None:
    fleet.fill(12)
    fleet.worker()
    asked = fleet.shell(README)
    assert asked.returncode == 0, asked.stderr
    full = json.loads(asked.stdout)
    assert full["outcome"] == "ok"
    assert len(fleet.manifest(full["name"]).archives) > 2
    fleet.assert_restorable(full["name"])

    (fleet.data / "ipfs" / "new").write_bytes(os.urandom(100))
    incremental = fleet.send("backup.run", "incremental").get(timeout=30)
    assert fleet.manifest(incremental["name"]).parent == full["name"]
    fleet.assert_restorable(incremental["name"])

    unchanged = fleet.send("backup.run").get(timeout=30)
    assert fleet.manifest(unchanged["name"]).own_archives() == ()
    fleet.assert_restorable(unchanged["name"])
