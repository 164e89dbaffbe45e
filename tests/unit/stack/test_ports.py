from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from g3zkp_maint.errors import BadInput, PlatformError, PortTaken
from g3zkp_maint.stack import ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def test_ports_are_chosen_once_and_kept(tmp_path: Path) -> None:
    first, _ = ports.settle(tmp_path / "ports.json", {})
    again, moved = ports.settle(tmp_path / "ports.json", {})
    assert again == first == ports.load(tmp_path / "ports.json")
    assert moved == []
    assert len({first.messenger, first.redis, first.coordination, first.flower, first.metrics}) == 5


def test_a_kept_port_that_is_taken_moves_and_the_others_stay(tmp_path: Path, taken: int) -> None:
    path = tmp_path / "ports.json"
    before, _ = ports.settle(path, {})
    path.write_text(path.read_text().replace(str(before.flower), str(taken)))
    after, moved = ports.settle(path, {})
    assert moved == ["flower"]
    assert after.flower not in (taken, before.messenger)
    assert after.messenger == before.messenger


def test_ports_of_the_first_version_stay_and_what_it_lacked_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    before, _ = ports.settle(path, {})
    kept = {name: port for name, port in asdict(before).items() if name != "metrics"}
    path.write_text(json.dumps(kept))
    assert ports.load(path) is None
    after, moved = ports.settle(path, {})
    assert {name: port for name, port in asdict(after).items() if name != "metrics"} == kept
    assert moved == []


def test_a_wanted_port_that_is_taken_is_an_error_that_names_the_option(tmp_path: Path, taken: int) -> None:
    with pytest.raises(PortTaken, match=f"port {taken} .* --flower-port"):
        ports.settle(tmp_path / "ports.json", {"flower": taken})


def test_one_port_for_two_is_refused(tmp_path: Path) -> None:
    free = ports.settle(tmp_path / "other.json", {})[0].flower
    with pytest.raises(BadInput, match="must differ"):
        ports.settle(tmp_path / "ports.json", {"flower": free, "messenger": free})


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(BadInput, match="1 to 65535"):
        ports.settle(tmp_path / "ports.json", {"redis": port})


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"messenger": 1}', '{"messenger": "x", "redis": 1, "coordination": 2, "flower": 3}']
)
def test_a_spoilt_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    with pytest.raises(PlatformError, match=r"ports\.json"):
        ports.settle(tmp_path / "ports.json", {})
