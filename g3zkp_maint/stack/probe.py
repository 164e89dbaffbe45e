"""Whether a process serves yet. A probe answers within its time limit and raises nothing: no answer is an answer."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Protocol

import httpx

_TIMEOUT_SECONDS = 2.0


class Probe(Protocol):
    def is_ready(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Ready when `url` answers with 2xx."""

    url: str

    def is_ready(self) -> bool:
        try:
            return httpx.get(self.url, timeout=_TIMEOUT_SECONDS, trust_env=False).is_success
        except httpx.HTTPError:
            return False


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """Ready when AUTH and PING are answered well; a server that still loads its data answers PING with an error."""

    port: int
    password: str = field(repr=False)

    def is_ready(self) -> bool:
        request = f"AUTH {self.password}\r\nPING\r\n".encode()
        expected = b"+OK\r\n+PONG\r\n"
        try:
            with socket.create_connection(("127.0.0.1", self.port), _TIMEOUT_SECONDS) as connection:
                connection.sendall(request)
                answer = b""
                while len(answer) < len(expected) and (piece := connection.recv(256)):
                    answer += piece
        except OSError:
            return False
        return answer == expected
