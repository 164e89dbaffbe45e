from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_fleet import Fleet, free_fleets


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    yield from free_fleets(tmp_path, _free_port)
    for name in ("data", "store"):
        shutil.rmtree(tmp_path / name)
