"""That what conftest.py promises to every test holds."""

from __future__ import annotations

import os
import socket

import pytest


@pytest.fixture(scope="module", autouse=True)
def _a_shell_with_settings():
    os.environ["G3ZKP_STORE__KIND"] = "s3"
    yield
    os.environ.pop("G3ZKP_STORE__KIND", None)


def test_settings_of_the_shell_reach_no_test() -> None:
    assert "G3ZKP_STORE__KIND" not in os.environ


@pytest.mark.parametrize("address", ["192.0.2.1", "example.org"])
def test_no_test_connects_to_another_machine(address: str) -> None:
    with socket.socket() as attempt, pytest.raises(RuntimeError, match=f"a test connects to {address}"):
        attempt.connect((address, 80))


def test_a_test_may_connect_to_this_machine() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_a_missing_program_is_named_with_its_package(require_program, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = pytest.fail.Exception if os.environ.get("CI") == "true" else pytest.skip.Exception
    with pytest.raises(outcome, match="no-such-program is not installed"):
        require_program("no-such-program")
