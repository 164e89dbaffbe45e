"""A certificate as far as checks look at it, and a chain of them, read from PEM or DER (RFC 5280, RFC 7468)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from g3zkp_maint.errors import CertificateUnreadable

#: What the library says of certificates that are malformed, or newer than itself: strangers make them.
_MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """`hosts` are the names and addresses that it is for, in lower case; `key` is `rsa`, `ec`, `dsa` or another name,
    `key_bits` 0 where that has no meaning; `signature` is its hash (`sha256`), '' where the scheme has none of its own.
    Times are UTC. `fingerprint` is the SHA-256 of the certificate, in hex."""

    subject: str
    issuer: str
    hosts: tuple[str, ...]
    begins: datetime
    ends: datetime
    key: str
    key_bits: int
    signature: str
    is_self_signed: bool
    fingerprint: str

    def covers(self, host: str) -> bool:
        """Whether it is for `host`; a wildcard stands for one label (RFC 6125)."""
        wanted = host.lower().rstrip(".")
        return any(_matches(one, wanted) for one in self.hosts)


@dataclass(frozen=True, slots=True)
class Chain:
    """What a server presents: its own certificate first. `gap` says where a certificate is not signed by the next one,
    '' where each is; `fits_key` tells whether the private key beside it is its own, None where there is none to see."""

    certificates: tuple[Certificate, ...]
    gap: str = ""
    fits_key: bool | None = None

    @property
    def own(self) -> Certificate:
        return self.certificates[0]


def read_chain(pem: bytes, key_pem: bytes | None = None) -> Chain:
    """From PEM, the server's own certificate first, with its private key where there is one. Raises
    CertificateUnreadable."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except _MALFORMED as error:
        raise CertificateUnreadable(f"it holds no certificate in PEM: {error}") from error
    try:
        told = tuple(map(_told, found))
    except _MALFORMED as error:
        raise CertificateUnreadable(f"a certificate in it cannot be understood: {error}") from error
    return Chain(told, _gap(found), None if key_pem is None else _fits(found[0], key_pem))


def read_der(der: bytes) -> Certificate:
    """One certificate. Raises CertificateUnreadable."""
    try:
        return _told(x509.load_der_x509_certificate(der))
    except _MALFORMED as error:
        raise CertificateUnreadable(f"it is no certificate that can be understood: {error}") from error


def _told(one: x509.Certificate) -> Certificate:
    key, bits = _key(one.public_key())
    try:
        algorithm = one.signature_hash_algorithm
    except UnsupportedAlgorithm:  # newer than the library: no reason to call it weak
        algorithm = None
    return Certificate(
        subject=one.subject.rfc4514_string(),
        issuer=one.issuer.rfc4514_string(),
        hosts=_hosts(one),
        begins=one.not_valid_before_utc,
        ends=one.not_valid_after_utc,
        key=key,
        key_bits=bits,
        signature=algorithm.name if algorithm else "",
        is_self_signed=one.subject == one.issuer,
        fingerprint=one.fingerprint(hashes.SHA256()).hex(),
    )


def _hosts(one: x509.Certificate) -> tuple[str, ...]:
    """The alternative names; a common name counts for nobody any more (RFC 9525)."""
    try:
        names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    dns = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return (*dns, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def _key(key: PublicKeyTypes) -> tuple[str, int]:
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ec", key.curve.key_size
    if isinstance(key, dsa.DSAPublicKey):
        return "dsa", key.key_size
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey").lower(), 0


def _gap(chain: Sequence[x509.Certificate]) -> str:
    for one, above in pairwise(chain):
        try:
            one.verify_directly_issued_by(above)
        except (*_MALFORMED, TypeError, InvalidSignature):
            return f"{one.subject.rfc4514_string()} is not signed by what follows it, {above.subject.rfc4514_string()}"
    return ""


def _fits(own: x509.Certificate, key_pem: bytes) -> bool:
    """The key itself is looked at here and kept nowhere."""
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(*form) == own.public_key().public_bytes(*form)


def _matches(pattern: str, host: str) -> bool:
    if pattern.startswith("*.") and not _is_address(host):
        label, _, rest = host.partition(".")
        return bool(label) and rest == pattern[2:]
    return pattern == host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
