"""cert-manager in a cluster. A renewal is asked for as its own tool does: by the condition Issuing in the status."""

from __future__ import annotations

from g3zkp_maint.clock import Clock
from g3zkp_maint.platforms.kubernetes_client import KubernetesClient

_API = "cert-manager.io/v1"
_ISSUING = "Issuing"


class KubernetesIssuer:
    """See Issuer."""

    def __init__(self, client: KubernetesClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def server(self) -> str:
        """See Issuer.server."""
        return self._client.server

    def authorities(self) -> str | None:
        """See Issuer.authorities."""
        return self._client.configuration.ssl_ca_cert or None

    def ask(self, certificate: str) -> bool:
        """See Issuer.ask. Raises Conflict where cert-manager has just changed it."""
        found = self._client.get(self._client.path("certificates", certificate, api=_API))
        status = found.setdefault("status", {})
        conditions = status.get("conditions") or []
        if any(one.get("type") == _ISSUING and one.get("status") == "True" for one in conditions):
            return False
        asked = {
            "type": _ISSUING,
            "status": "True",
            "reason": "ManuallyTriggered",
            "message": "asked for by g3zkp-maint",
            "lastTransitionTime": f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ}",
            "observedGeneration": found["metadata"].get("generation", 0),
        }
        status["conditions"] = [*(one for one in conditions if one.get("type") != _ISSUING), asked]
        # The whole object with its resourceVersion: a change in between is a conflict, and nothing is overwritten.
        self._client.request("PUT", self._client.path("certificates", certificate, "status", api=_API), body=found)
        return True
