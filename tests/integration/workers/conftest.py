from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_fleet import Broker, Fleet, small_fleet, stack_fleet

from g3zkp_maint.testing.running_stack import running_stack


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    broker = Broker(tmp_path / "broker", port)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def fleet(tmp_path: Path, broker: Broker) -> Iterator[Fleet]:
    fleet = small_fleet(tmp_path, broker)
    yield fleet
    fleet.close()
    for folder in (fleet.data, fleet.store):
        shutil.rmtree(folder)


@pytest.fixture
def messenger_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Around a messenger that runs."""
    with running_stack(tmp_path / "state", "--no-fleets", "--no-flower") as stack:
        fleet = stack_fleet(tmp_path, stack)
        yield fleet
        fleet.close()
    shutil.rmtree(tmp_path / "state")
