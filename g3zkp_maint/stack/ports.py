"""The stack's ports on 127.0.0.1: chosen at the first start and kept, so that addresses stay.

They are taken from below the range that the system gives to outgoing connections: there one could be in use at the
next start by mere chance.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from g3zkp_maint.errors import BadInput, PlatformError, PortTaken
from g3zkp_maint.platforms.local_files import read_document, write_document

_FIRST, _LAST = 20_000, 32_000
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Ports:
    """`redis` is the messenger's; `coordination` the broker's; `metrics` the exporter's."""

    messenger: int
    redis: int
    coordination: int
    flower: int
    metrics: int


PORT_NAMES = tuple(field.name for field in fields(Ports))
#: Those that the first version had; what came later is chosen at the next start.
_FIRST_NAMES = {"messenger", "redis", "coordination", "flower"}


def settle(path: Path, wanted: Mapping[str, int | None]) -> tuple[Ports, list[str]]:
    """The ports to use, written to `path`, and the names of those that had to move since the last start.

    A wanted port that is in use raises PortTaken; a kept one that is in use is replaced.
    """
    kept = _kept(path)
    chosen: dict[str, int] = {}
    moved = []
    for name in PORT_NAMES:
        port = wanted.get(name)
        if port is not None:
            chosen[name] = _checked(name, port)
            continue
        before = kept.get(name)
        chosen[name] = before if before and is_free(before) else _free(taken={*chosen.values(), *kept.values()})
        if before not in (None, chosen[name]):
            moved.append(name)
    if len(set(chosen.values())) != len(chosen):
        raise BadInput(f"the ports must differ, got {chosen}")
    ports = Ports(**chosen)
    write_document(path, asdict(ports))
    return ports, moved


def load(path: Path) -> Ports | None:
    """The ports in use; None before the first start of this version."""
    kept = _kept(path)
    return Ports(**kept) if set(kept) == set(PORT_NAMES) else None


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As servers do: an address that only waits out its last connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _kept(path: Path) -> dict[str, int]:
    document = read_document(path)
    if document is None:
        return {}
    is_ours = _FIRST_NAMES <= set(document) <= set(PORT_NAMES)
    if not is_ours or not all(isinstance(port, int) for port in document.values()):
        raise PlatformError(f"{path} does not hold the ports {', '.join(PORT_NAMES)}; remove it")
    return document


def _checked(name: str, port: int) -> int:
    if not 0 < port < 65536:
        raise BadInput(f"--{name}-port {port} is no port; give 1 to 65535")
    if not is_free(port):
        raise PortTaken(f"port {port} for {name} is in use by another program; give another by --{name}-port")
    return port


def _free(*, taken: set[int]) -> int:
    for _ in range(_TRIES):
        port = random.randint(_FIRST, _LAST)  # noqa: S311  no secret
        if port not in taken and is_free(port):
            return port
    raise PortTaken(f"no free port found between {_FIRST} and {_LAST}; give ports by options")
