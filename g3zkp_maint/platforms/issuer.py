"""The port to what makes certificates in a cluster, and the cluster's own."""

from __future__ import annotations

from typing import Protocol


class Issuer(Protocol):
    """cert-manager, beside the messenger."""

    def server(self) -> str:
        """The API server's address, `https://host:port`."""
        ...

    def authorities(self) -> str | None:
        """The PEM file of the authorities that the API server is trusted by; None: the machine's."""
        ...

    def ask(self, certificate: str) -> bool:
        """Asks for a new one in place of `certificate`. False where that was asked for already and is under way. Raises
        UnknownWorkload where there is no cert-manager or no such Certificate, and what the platform raises."""
        ...
