"""What a look at certificates gathers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from g3zkp_maint.certificates.certificate import Chain
from g3zkp_maint.lack import Lack


@dataclass(frozen=True, slots=True)
class Mounter:
    """A workload that takes a Secret into its pods: kind and name as in the cluster; `workload` is the product's name
    for it, None for what belongs to others and is never restarted from here."""

    kind: str
    name: str
    workload: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a certificate is: `name` stays the same from run to run (`Secret/g3zkp/web-tls`, `example.org:443`).

    `chain` None: what is there cannot be read, and `problem` says why. `hosts` are those that it must be for. `distrust`
    is why a client would not trust it, '' where it would, None where that was not tried. Of a Secret: `secret` is its
    name, `issuer` the cert-manager Certificate that makes it ('' none), `mounters` who takes it into their pods.
    """

    name: str
    chain: Chain | None
    problem: str = ""
    hosts: tuple[str, ...] = ()
    distrust: str | None = None
    secret: str = ""
    issuer: str = ""
    mounters: tuple[Mounter, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it at `at`, UTC. `notice_days` are the days before the end at which a certificate is medium, high and
    critical: 30, 14, 7."""

    at: datetime
    places: tuple[Place, ...]
    unseen: tuple[Lack, ...] = ()
    notice_days: tuple[int, int, int] = (30, 14, 7)
