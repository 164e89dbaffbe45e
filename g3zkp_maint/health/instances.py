"""The health of the messenger as a whole: its address, and each of its instances by itself.

A Service answers as long as one pod does; here every pod that there should be is counted, and asked. The address comes
first: where it is known, it is asked though the platform cannot tell which instances there are.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import PlatformDenied, PlatformUnavailable, UnknownWorkload
from g3zkp_maint.health.check import HealthReport, check
from g3zkp_maint.platforms.base import MESSENGER, Instance, Platform

#: Asked at once.
_SIDE_BY_SIDE = 8


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """One instance; `health` is None where it has no address to be asked at, or is not to be asked."""

    name: str
    ready: bool
    health: HealthReport | None
    is_to_be_asked: bool = True

    @property
    def problems(self) -> tuple[str, ...]:
        unready = () if self.ready else (f"{self.name} is not ready",)
        asked = self.health.problems if self.health else ("it has no address",) if self._lacks_address else ()
        return (*unready, *(f"{self.name} {problem}" for problem in asked))

    @property
    def _lacks_address(self) -> bool:
        return self.ready and self.is_to_be_asked


@dataclass(frozen=True, slots=True)
class WholeReport:
    """`desired` is how many instances there should be; `unasked` says why nothing is known of them, '' where it is."""

    desired: int
    service: HealthReport
    instances: tuple[InstanceReport, ...]
    unasked: str = ""

    @property
    def is_healthy(self) -> bool:
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, a sentence each."""
        found = [f"the address {self.service.url} {problem}" for problem in self.service.problems]
        if self.unasked:
            found.append(f"which instances are there cannot be asked: {self.unasked}")
        elif len(self.instances) < self.desired or not self.desired:
            found.append(f"{len(self.instances)} instances are there, {self.desired} should be")
        return (*found, *(problem for one in self.instances for problem in one.problems))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "healthy": self.is_healthy,
            "problems": list(self.problems),
            "desired": self.desired,
            "service": self.service.as_dict(),
            "instances": [
                {"name": one.name, "ready": one.ready, "health": one.health.as_dict() if one.health else None}
                for one in self.instances
            ],
        }


def check_all(
    platform: Platform,
    *,
    timeout_seconds: float = 5,
    tries: int = 3,
    ask_instances: bool = True,
    clock: Clock | None = None,
) -> WholeReport:
    """Asks the messenger's address and each instance; limits are those of `check`. Without `ask_instances` the platform's
    word for their readiness is taken. A messenger that is down is a report, and so is a platform that cannot be asked, or
    refuses, once the address is known. Raises UnknownWorkload where there is no messenger, and what the platform raises."""

    def asked(url: str) -> HealthReport:
        return check(url, timeout_seconds=timeout_seconds, tries=tries, clock=clock)

    def reported(one: Instance) -> InstanceReport:
        health = asked(f"http://{one.address}") if one.address and ask_instances else None
        return InstanceReport(one.name, one.ready, health, is_to_be_asked=ask_instances)

    service = asked(platform.health_url())
    try:
        desired = next((one.desired for one in platform.workloads() if one.name == MESSENGER), None)
        if desired is None:
            raise UnknownWorkload(f"there is no workload {MESSENGER} to ask; see platform.namespace")
        found = platform.instances(MESSENGER)
    except (PlatformUnavailable, PlatformDenied) as error:
        return WholeReport(0, service, (), unasked=str(error))
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        instances = tuple(pool.map(reported, found))
    return WholeReport(desired, service, instances)
