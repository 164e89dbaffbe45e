"""`backup prune --dry-run`, and what `backup list` says of pruned ones; on a real store in a folder, without Redis."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.prune import PruneSite, prune
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.settings import Retention
from g3zkp_maint.testing.backup_place import BackupPlace, entered

ANY_SHARE = {"G3ZKP_RETENTION__MAX_SHARE_PER_RUN": "1"}


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace.make(tmp_path)


@pytest.fixture
def three(place: BackupPlace) -> list[Manifest]:
    """Of January 2026: past their days for good."""
    return [place.take(number) for number in range(3)]


@pytest.fixture
def invoke(place: BackupPlace) -> Callable[..., Result]:
    def run(*args: str, **extra: str) -> Result:
        env = {**place.environment(), "G3ZKP_REDIS__URL": "redis://127.0.0.1:1/0", **extra}
        return CliRunner(env=env).invoke(cli.app, ["backup", *args], prog_name="g3zkp-maint")

    return run


def _pruned(place: BackupPlace) -> None:
    with entered(place.environment()):
        services = Services()
        policy = Retention(delete_after_hours=0, max_share_per_run=1)
        prune(PruneSite(services.repository, policy, services.clock, Unguarded()))


def test_a_dry_run_shows_each_backup_with_its_reason(three: list[Manifest], place: BackupPlace, invoke) -> None:
    before = place.tree(place.store)
    result = invoke("prune", "--dry-run", **ANY_SHARE)
    assert result.exit_code == 0, result.output
    rows = [line.split(maxsplit=2) for line in result.stdout.splitlines()[1:4]]
    assert rows == [
        [three[2].name, "keep", "newest, newest-full"],
        [three[1].name, "mark", "past its days, and no rule keeps it"],
        [three[0].name, "mark", "past its days, and no rule keeps it"],
    ]
    assert place.tree(place.store) == before


def test_a_dry_run_in_json_is_one_document(three: list[Manifest], invoke) -> None:
    document = json.loads(invoke("prune", "--dry-run", "--json", **ANY_SHARE).stdout)
    assert document["would_mark"] == [three[1].name, three[0].name]
    assert document["would_delete"] == []
    assert [one["kept"] for one in document["backups"]] == [True, False, False]


def test_a_dry_run_past_the_share_shows_the_plan_and_fails(three: list[Manifest], invoke) -> None:
    result = invoke("prune", "--dry-run")
    assert three[0].name in result.stdout
    assert result.exit_code == 1
    assert "would take 2 of 3 backups" in result.stderr
    assert invoke("prune", "--dry-run", "--force").exit_code == 0


def test_the_real_one_needs_redis(three: list[Manifest], place: BackupPlace, invoke) -> None:
    before = place.tree(place.store)
    assert invoke("prune", "--force").exit_code == 75
    assert place.tree(place.store) == before


def test_list_tells_a_pruned_backup_from_a_removed_one(three: list[Manifest], place: BackupPlace, invoke) -> None:
    four = place.take(3)
    _pruned(place)
    assert json.loads(invoke("list", "--json").stdout)["chain"] == {"is_whole": True, "breaks": []}
    place.take(4)
    place.stored(four, "MANIFEST.json").unlink()
    assert f"made after {four.name}, which is no longer in the store" in invoke("list").stdout


def test_list_says_that_the_ledger_is_not_to_be_believed(three: list[Manifest], place: BackupPlace, invoke) -> None:
    _pruned(place)
    (ledger,) = (place.store / "prune").iterdir()
    ledger.write_bytes(b"{}")
    said = invoke("list").stdout
    assert "invalid: the prune ledger 1 is not signed JSON" in said
    assert f"broken chain: {three[2].name} was made after {three[1].name}" in said
