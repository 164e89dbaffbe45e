"""Each check finds what it is for, and nothing where there is nothing."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.registry import rule
from g3zkp_maint.certificates.certificate import read_chain, read_der
from g3zkp_maint.certificates.checks import CHECKS, find
from g3zkp_maint.certificates.facts import Facts, Place
from g3zkp_maint.errors import CertificateUnreadable
from g3zkp_maint.testing.authority import Issued, issue, root

ROOT = root()
MIDDLE = issue("Middle", by=ROOT, days=1000)
HOSTS = ("g3zkp.example", "*.chat.example", "127.0.0.1")


def good(**changed: object) -> Issued:
    return issue("web", **{"by": MIDDLE, "hosts": HOSTS, **changed})  # type: ignore[arg-type]


def found(
    *chain: Issued, hosts: tuple[str, ...] = ("g3zkp.example",), key: bytes | None = None, **more: str
) -> dict[str, Severity]:
    place = Place("Secret/g3zkp/web", read_chain(b"".join(one.pem for one in chain), key), hosts=hosts, **more)  # type: ignore[arg-type]
    seen = find(Facts(datetime.now(UTC), (place,)))
    assert all(rule(one.check).severity.rank <= one.severity.rank for one in seen), "each is explained, and no worse"
    return {one.check: one.severity for one in seen}


def test_a_good_certificate_with_its_chain_and_key_has_no_finding() -> None:
    own = good()
    assert found(own, MIDDLE, ROOT, hosts=("g3zkp.example", "a.chat.example", "127.0.0.1"), key=own.key_pem) == {}


@pytest.mark.parametrize(
    ("days", "severity"),
    [(31.5, None), (29.5, Severity.MEDIUM), (13.5, Severity.HIGH), (6.5, Severity.CRITICAL), (-1, Severity.CRITICAL)],
)
def test_how_bad_an_end_is_depends_on_the_days_that_are_left(days: float, severity: Severity | None) -> None:
    assert found(good(days=days), MIDDLE) == ({} if severity is None else {"certificate-expiry": severity})


@pytest.mark.parametrize("days", [90, 25])
def test_the_end_of_what_signs_it_counts_as_well_and_the_first_end_counts(days: float) -> None:
    middle = issue("Middle", by=ROOT, days=5)
    assert found(good(by=middle, days=days), middle) == {"certificate-expiry": Severity.CRITICAL}


@pytest.mark.parametrize("host", ["other.example", "chat.example", "a.b.chat.example", "127.0.0.2"])
def test_a_host_that_it_is_not_for_is_found(host: str) -> None:
    assert found(good(), MIDDLE, hosts=(host,)) == {"certificate-host": Severity.HIGH}


def test_one_that_counts_only_from_tomorrow_is_found() -> None:
    assert found(good(begins=datetime.now(UTC) + timedelta(days=1)), MIDDLE) == {"certificate-too-early": Severity.HIGH}


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP192R1())])
def test_a_weak_key_is_found(key: rsa.RSAPrivateKey) -> None:
    assert found(good(key=key), MIDDLE) == {"certificate-weak-key": Severity.HIGH}


#: Signed with ecdsa-with-SHA1, for g3zkp.example, until 2126: the library makes none of these any more.
SIGNED_WITH_SHA1 = b"""\
-----BEGIN CERTIFICATE-----
MIIBgDCCASegAwIBAgIUAiGFc4gBbhG7Ct1lDVJw1HKZZK8wCQYHKoZIzj0EATAU
MRIwEAYDVQQDDAlXZWFrIFJvb3QwIBcNMjYxMTI1MTk1NDIyWhgPMjEyNjExMDEx
OTU0MjJaMA4xDDAKBgNVBAMMA3dlYjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BLNAbpWJOmie1Tldq/v7wSnt6QnENks1X/GY8m3KAvSAmz/i9sUtdKHP8ipLiKrL
OZgvgXwCABRvJBLBdpWlyPWjXDBaMBgGA1UdEQQRMA+CDWczemtwLmV4YW1wbGUw
HQYDVR0OBBYEFFCblDJzfVKyrzOu4hasNCdRq0fUMB8GA1UdIwQYMBaAFPvmsF9C
Z4BEYAzdB6soharHcm5/MAkGByqGSM49BAEDSAAwRQIgELjW51LDQnZP1v3l1HM+
te3MY+TRCEfZASF1m3zJeWsCIQD+vumxDxZhz9ZBlN8JpiaLGZy4J/cO2qZBTXYi
/5nTjw==
-----END CERTIFICATE-----
"""


def test_a_weak_signature_is_found() -> None:
    place = Place("Secret/g3zkp/web", read_chain(SIGNED_WITH_SHA1), hosts=("g3zkp.example",))
    assert [one.check for one in find(Facts(datetime.now(UTC), (place,)))] == ["certificate-weak-signature"]


def test_a_chain_in_the_wrong_order_is_found() -> None:
    assert "certificate-chain" in found(good(), ROOT, MIDDLE)


def test_a_key_of_another_pair_and_one_that_is_none_are_found() -> None:
    assert found(good(), MIDDLE, key=good().key_pem) == {"certificate-key": Severity.CRITICAL}
    assert found(good(), MIDDLE, key=b"no key") == {"certificate-key": Severity.CRITICAL}


def test_what_a_client_would_not_trust_is_found_once() -> None:
    assert found(good(), distrust="unable to get local issuer certificate") == {"certificate-trust": Severity.HIGH}
    assert found(good(days=-1), distrust="certificate has expired") == {"certificate-expiry": Severity.CRITICAL}


def test_what_cannot_be_read_is_found() -> None:
    place = Place("Secret/g3zkp/web", None, "it holds no certificate in PEM")
    (one,) = find(Facts(datetime.now(UTC), (place,)))
    assert (one.check, one.evidence) == ("certificate-unreadable", "it holds no certificate in PEM")


def test_every_check_was_seen_to_find_something_above() -> None:
    names = {check.__name__ for check in CHECKS}
    assert names == {"_unreadable", "_expiry", "_begin", "_hosts", "_key", "_signature", "_chain", "_fit", "_trust"}


def test_a_certificate_with_a_key_of_a_kind_that_nobody_knows_is_an_error_of_ours() -> None:
    # id-ecPublicKey, and one number further.
    strange = (
        good()
        .certificate.public_bytes(Encoding.DER)
        .replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0279"))
    )
    with pytest.raises(CertificateUnreadable):
        read_der(strange)
    with pytest.raises(CertificateUnreadable):
        read_chain(ssl.DER_cert_to_PEM_cert(strange).encode())


def test_text_that_is_no_certificate_is_an_error_of_ours() -> None:
    with pytest.raises(CertificateUnreadable):
        read_chain(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
