"""Where a certificate is asked for by a handshake."""

from __future__ import annotations

import re
from dataclasses import dataclass

from g3zkp_maint.errors import BadInput

_TEXT = re.compile(r"(?:(?P<name>[^=]*)=)?(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]=]+))(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to, and which name to ask for."""

    host: str
    port: int
    name: str

    @property
    def shown(self) -> str:
        place = f"{self.host}:{self.port}"
        return place if self.name == self.host else f"{self.name} at {place}"

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """`host`, `host:port`, `[address of IPv6]`, each with `name=` before it where the name is another. Raises
        BadInput."""
        found = _TEXT.fullmatch(text.strip())
        port = int(found["port"] or 443) if found else 0
        if not found or not 0 < port < 65536:
            raise BadInput(f"{text!r} is no endpoint; write host, host:port, or name=host:port")
        host = found["six"] or found["host"]
        return cls(host, port, found["name"] or host)
