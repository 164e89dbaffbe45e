"""Helpers of restores with which nobody goes on: removed, but not beside a restore."""

from __future__ import annotations

from pathlib import Path

import fakeredis
import pytest

from g3zkp_maint.backup.places import HELPERS
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.lease import RESOURCES, Mode
from g3zkp_maint.operations import forsaken
from g3zkp_maint.platforms.local_files import write_document
from g3zkp_maint.platforms.process import ProcessIdentity, identify
from g3zkp_maint.settings import Platform, Settings

EVERYTHING = dict.fromkeys(RESOURCES, Mode.EXCLUSIVE)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    made = Services(Settings(platform=Platform(state_dir=tmp_path)))
    made.__dict__["redis"] = fakeredis.FakeRedis(decode_responses=True)
    (tmp_path / "helpers").mkdir()
    return made


def leave_behind(services: Services, name: str, owner: ProcessIdentity) -> Path:
    path = services.settings.platform.state_dir / "helpers" / f"{name}.json"
    write_document(path, {"pid": owner.pid, "started": owner.started, "of": "redis"})
    return path


def test_a_restores_helpers_go_whoever_owns_them_but_not_while_a_restore_is_at_work(services: Services) -> None:
    living = identify(1)
    left = [leave_behind(services, name, living) for name in HELPERS]
    another = leave_behind(services, "of-something-else", living)
    with services.leases.acquire(EVERYTHING, owner="crypto.restore:a-slot"):
        assert forsaken.sweep(services) == 0
    assert all(path.exists() for path in left)
    assert forsaken.sweep(services) == len(HELPERS)
    assert not any(path.exists() for path in left)
    assert another.exists()


def test_it_leaves_no_lease_and_no_place_in_a_queue(services: Services) -> None:
    with services.leases.acquire(EVERYTHING, owner="crypto.restore:a-slot"):
        forsaken.sweep(services)
    forsaken.sweep(services)
    assert services.leases.holders() == []
    with services.leases.acquire(EVERYTHING, owner="crypto.restore:another"):
        pass
