"""`backup prune` under a real run, lease and journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination import STORE, Mode
from g3zkp_maint.testing.backup_place import BackupPlace, entered

pytestmark = pytest.mark.integration


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace.make(tmp_path)


@pytest.fixture
def services(place: BackupPlace, redis_url: str) -> Iterator[Services]:
    retention = {"G3ZKP_RETENTION__DELETE_AFTER_HOURS": "0", "G3ZKP_RETENTION__MAX_SHARE_PER_RUN": "0.5"}
    with entered({**place.environment(), **retention, "G3ZKP_REDIS__URL": redis_url}):
        yield Services()


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.app, ["backup", "prune", *args], prog_name="g3zkp-maint")


def test_prune_by_hand_is_a_run_under_the_lease_of_the_store(place: BackupPlace, services: Services) -> None:
    old = [place.take(number) for number in range(3)]
    refused = invoke()
    assert refused.exit_code == 1
    assert "would take 2 of 3 backups" in refused.stderr

    done = json.loads(invoke("--force", "--json").stdout)
    assert (done["outcome"], done["deleted"]) == ("ok", [old[1].name, old[0].name])
    assert [str(name) for name in services.repository.names()] == [old[2].name]
    (event,) = [
        record.event
        for record in services.journal.read(task="backup.prune")
        if record.event.step == "prune" and record.event.event == "finished"
    ]
    assert (event.bytes, event.detail["deleted"]) == (done["freed_bytes"], 2)
    assert services.leases.holders() == []


def test_prune_waits_for_a_backup_under_way(place: BackupPlace, services: Services) -> None:
    place.take()
    with services.leases.acquire({STORE: Mode.SHARED}, owner="backup.run:now"):
        result = invoke("--force")
    assert result.exit_code == 75
    assert "backup.run:now" in result.stderr
