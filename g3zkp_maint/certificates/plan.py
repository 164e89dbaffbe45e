"""What follows from a look: what is to be renewed, and who is to be restarted for what has been renewed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from g3zkp_maint.certificates.facts import Facts, Place


@dataclass(frozen=True, slots=True)
class Renewal:
    """One Secret whose certificate ends soon. `certificate` is cert-manager's name for it; '' where somebody else makes
    it, and `reason` then says what to do."""

    secret: str
    certificate: str
    reason: str


@dataclass(frozen=True, slots=True)
class Restart:
    """`workloads` (the product's names) run with a certificate that is no longer in its Secret; `others` do as well, and
    are not ours to restart (`Deployment/web`): those of which nobody was told yet. `secrets` are by name, with the
    fingerprint that they have now."""

    workloads: tuple[str, ...]
    others: tuple[str, ...]
    secrets: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        return {"workloads": list(self.workloads), "others": list(self.others), "secrets": sorted(self.secrets)}


def plan_renewals(facts: Facts, *, within_days: int) -> tuple[Renewal, ...]:
    """Of the Secrets whose own certificate ends within that time."""
    due = facts.at + timedelta(days=within_days)
    return tuple(_renewal(one) for one in facts.places if one.secret and one.chain and one.chain.own.ends <= due)


def plan_restart(facts: Facts, known: Mapping[str, str], told: Mapping[str, str] | None = None) -> Restart:
    """`known` is, by Secret, the fingerprint that its mounters run with; `told` the one of which people were told who
    restart what is not ours, None: as `known`. A Secret that is not known yet counts as what they run with: nobody can
    tell when they started."""
    changed, untold = _changed(facts, known), _changed(facts, known if told is None else told)
    return Restart(
        workloads=tuple(sorted({by.workload for one in changed for by in one.mounters if by.workload})),
        others=tuple(sorted({f"{by.kind}/{by.name}" for one in untold for by in one.mounters if not by.workload})),
        secrets={one.secret: one.chain.own.fingerprint for one in (*changed, *untold) if one.chain},
    )


def _changed(facts: Facts, former: Mapping[str, str]) -> list[Place]:
    return [
        one
        for one in facts.places
        if one.chain and former.get(one.secret, one.chain.own.fingerprint) != one.chain.own.fingerprint
    ]


def first_seen(facts: Facts, known: Mapping[str, str]) -> dict[str, str]:
    """Fingerprints of Secrets that are not known yet."""
    return {
        one.secret: one.chain.own.fingerprint
        for one in facts.places
        if one.secret and one.chain and one.secret not in known
    }


def _renewal(place: Place) -> Renewal:
    if place.issuer:
        return Renewal(place.secret, place.issuer, f"cert-manager renews it (Certificate {place.issuer})")
    return Renewal(
        place.secret,
        "",
        f"no Certificate of cert-manager makes Secret {place.secret}: put a new certificate and key into it "
        f"(kubectl create secret tls {place.secret} --cert=… --key=… --dry-run=client -o yaml | kubectl apply -f -)",
    )
