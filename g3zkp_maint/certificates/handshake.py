"""The certificate that a server presents to those who ask for a name (SNI), and whether a client would trust it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from g3zkp_maint.certificates.certificate import Certificate, read_der
from g3zkp_maint.certificates.endpoint import Endpoint
from g3zkp_maint.errors import CertificateUnreadable, SettingsError


@dataclass(frozen=True, slots=True)
class Presented:
    """Its own certificate, and why a client would not trust it ('' it would)."""

    own: Certificate
    distrust: str


def shake(endpoint: Endpoint, *, ca_file: str | None, seconds: float) -> Presented:
    """Two handshakes: one that takes whatever comes, to see it; one as a client would. `ca_file` None: the machine's
    authorities. Raises CertificateUnreadable where no certificate comes, SettingsError where `ca_file` has no authorities."""
    try:
        trusting = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingsError(f"no authorities can be read from {ca_file}: {error.strerror or error}") from error
    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname = False
    anything.verify_mode = ssl.CERT_NONE
    try:
        own = read_der(_presented(endpoint, anything, seconds))
    except (OSError, ValueError) as error:  # ValueError: a name that no host can have
        raise CertificateUnreadable(f"no handshake: {getattr(error, 'strerror', None) or error}") from error
    try:
        _presented(endpoint, trusting, seconds)
    except ssl.SSLCertVerificationError as error:
        return Presented(own, error.verify_message or str(error))
    except OSError as error:
        return Presented(own, f"no second handshake: {error.strerror or error}")
    return Presented(own, "")


def _presented(endpoint: Endpoint, context: ssl.SSLContext, seconds: float) -> bytes:
    with (
        socket.create_connection((endpoint.host, endpoint.port), timeout=seconds) as plain,
        context.wrap_socket(plain, server_hostname=endpoint.name) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""
