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
    are not ours to restart (`Deployment/web`). `secrets` are by name, with the fingerprint that they have now."""

    workloads: tuple[str, ...]
    others: tuple[str, ...]
    secrets: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        return {"workloads": list(self.workloads), "others": list(self.others), "secrets": sorted(self.secrets)}


def plan_renewals(facts: Facts, *, within_days: int) -> tuple[Renewal, ...]:
    """Of the Secrets whose own certificate ends within that time."""
    due = facts.at + timedelta(days=within_days)
    return tuple(_renewal(one) for one in facts.places if one.secret and one.chain and one.chain.own.ends <= due)


def plan_restart(facts: Facts, known: Mapping[str, str]) -> Restart:
    """`known` is, by Secret, the fingerprint that its mounters run with. A Secret that is not known yet counts as what
    they run with: nobody can tell when they started."""
    changed = [
        one
        for one in facts.places
        if one.chain and known.get(one.secret, one.chain.own.fingerprint) != one.chain.own.fingerprint
    ]
    mounters = [mounter for one in changed for mounter in one.mounters]
    return Restart(
        workloads=tuple(sorted({one.workload for one in mounters if one.workload})),
        others=tuple(sorted({f"{one.kind}/{one.name}" for one in mounters if not one.workload})),
        secrets={one.secret: one.chain.own.fingerprint for one in changed if one.chain},
    )


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
