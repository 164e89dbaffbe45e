"""What is wrong with certificates. Each check is one pure function from a place and the time to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from g3zkp_maint.audit.finding import Finding, Severity, one_line, worst_first
from g3zkp_maint.certificates.certificate import Certificate
from g3zkp_maint.certificates.facts import Facts, Place

_RSA_BITS = 2048
_EC_BITS = 224
_WEAK_HASHES = frozenset({"md5", "sha1"})
_RENEW = "renew it: `g3zkp-maint certificates check` says by whom; else ask who issued it"

Check = Callable[[Place, Facts], Iterator[Finding]]


def find(facts: Facts) -> tuple[Finding, ...]:
    """Of every place, the worst first."""
    return worst_first(finding for place in facts.places for check in CHECKS for finding in check(place, facts))


def _unreadable(place: Place, _: Facts) -> Iterator[Finding]:
    if place.chain is None:
        yield _finding(
            "certificate-unreadable", Severity.HIGH, place, place.problem, "see what is there, and put it right"
        )


def _expiry(place: Place, facts: Facts) -> Iterator[Finding]:
    if place.chain is None:
        return
    # The first to end ends it for all.
    one = min(place.chain.certificates, key=lambda each: each.ends)
    left = one.ends - facts.at
    severity = _urgency(left, facts.notice_days)
    if severity is None:
        return
    what = "expired" if left <= timedelta() else f"expires in {max(left.days, 0)} days, on"
    who = "" if one is place.chain.own else f"{one.subject}, which signs it, "
    yield _finding("certificate-expiry", severity, place, f"{who}{what} {one.ends:%Y-%m-%d %H:%MZ}", _remedy(place))


def _urgency(left: timedelta, days: tuple[int, int, int]) -> Severity | None:
    medium, high, critical = (timedelta(days=one) for one in days)
    if left <= critical:
        return Severity.CRITICAL
    if left <= high:
        return Severity.HIGH
    return Severity.MEDIUM if left <= medium else None


def _begin(place: Place, facts: Facts) -> Iterator[Finding]:
    if place.chain is not None and place.chain.own.begins > facts.at:
        evidence = f"it counts from {place.chain.own.begins:%Y-%m-%d %H:%MZ} on"
        yield _finding(
            "certificate-too-early", Severity.HIGH, place, evidence, "see the clock of who issued it, and ours"
        )


def _hosts(place: Place, _: Facts) -> Iterator[Finding]:
    if place.chain is None:
        return
    lacking = [host for host in place.hosts if not place.chain.own.covers(host)]
    if lacking:
        has = ", ".join(place.chain.own.hosts) or "none"
        evidence = f"it is not for {', '.join(lacking)}, but for: {has}"
        yield _finding("certificate-host", Severity.HIGH, place, evidence, "have one made for these names as well")


def _key(place: Place, _: Facts) -> Iterator[Finding]:
    for one in place.chain.certificates if place.chain else ():
        if _is_weak(one):
            evidence = f"{one.subject} has a key of {one.key_bits} bits ({one.key})"
            remedy = f"have it made anew with RSA of {_RSA_BITS} bits or more, EC P-256 or Ed25519"
            yield _finding("certificate-weak-key", Severity.HIGH, place, evidence, remedy)
            return


def _is_weak(one: Certificate) -> bool:
    return (
        one.key == "dsa"
        or (one.key == "rsa" and one.key_bits < _RSA_BITS)
        or (one.key == "ec" and one.key_bits < _EC_BITS)
    )


def _signature(place: Place, _: Facts) -> Iterator[Finding]:
    for one in place.chain.certificates if place.chain else ():
        # Nobody relies on the signature of a root.
        if one.signature in _WEAK_HASHES and not one.is_self_signed:
            evidence = f"{one.subject} is signed with {one.signature}"
            yield _finding(
                "certificate-weak-signature", Severity.HIGH, place, evidence, "have it made anew with SHA-256"
            )
            return


def _chain(place: Place, _: Facts) -> Iterator[Finding]:
    if place.chain is not None and place.chain.gap:
        remedy = "put the certificates in order: the server's own, then each that signs the one before"
        yield _finding("certificate-chain", Severity.HIGH, place, place.chain.gap, remedy)


def _fit(place: Place, _: Facts) -> Iterator[Finding]:
    if place.chain is not None and place.chain.fits_key is False:
        remedy = "put certificate and key of one pair into the Secret"
        evidence = "the private key beside it is not its own"
        yield _finding("certificate-key", Severity.CRITICAL, place, evidence, remedy)


def _trust(place: Place, facts: Facts) -> Iterator[Finding]:
    own = place.chain.own if place.chain else None
    # A client's first complaint may be what another check says better.
    if place.distrust and own and own.begins <= facts.at < own.ends and all(map(own.covers, place.hosts)):
        remedy = "have the server send the certificates between its own and the root, or name its root in certificates.ca_file"
        yield _finding(
            "certificate-trust", Severity.HIGH, place, f"a client does not trust it: {place.distrust}", remedy
        )


def _finding(check: str, severity: Severity, place: Place, evidence: str, remedy: str) -> Finding:
    return Finding(check, severity, place.name, one_line(evidence), remedy)


def _remedy(place: Place) -> str:
    if place.issuer:
        return f"`g3zkp-maint certificates renew {place.secret}` has cert-manager renew it (Certificate {place.issuer})"
    return _RENEW


CHECKS: tuple[Check, ...] = (_unreadable, _expiry, _begin, _hosts, _key, _signature, _chain, _fit, _trust)
