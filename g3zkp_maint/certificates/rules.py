"""What must hold of certificates: the rules that the findings of checks.py break, for people and for waivers."""

from __future__ import annotations

from g3zkp_maint.audit.check import Rule
from g3zkp_maint.audit.finding import Severity

_ANEW = "Have it made anew; `g3zkp-maint certificates check` says by whom."

RULES: tuple[Rule, ...] = (
    Rule(
        "certificate-unreadable",
        "A certificate cannot be read",
        Severity.HIGH,
        "TLS Secrets, those that Ingresses name, the API server and `certificates.endpoints`: whether there is a certificate.",
        "What cannot be read serves nobody, and nobody sees when it ends.",
        "See what is there, and put it right.",
    ),
    Rule(
        "certificate-expiry",
        "A certificate ends soon",
        Severity.CRITICAL,
        "Each certificate and what signs it: its end, against `certificates.notice_days`. Medium, high and critical as it comes near.",
        "From that moment on no client connects.",
        "Renew it: `g3zkp-maint certificates renew NAME` where cert-manager makes it, else ask who issued it.",
    ),
    Rule(
        "certificate-too-early",
        "A certificate does not count yet",
        Severity.HIGH,
        "Each certificate: its beginning.",
        "Until then no client connects.",
        "See the clock of who issued it, and ours.",
    ),
    Rule(
        "certificate-host",
        "A certificate is not for a host that uses it",
        Severity.HIGH,
        "Each certificate: its names, against the hosts of the Ingresses that use it, or the name that was asked for.",
        "Clients that ask for that host do not trust it.",
        "Have one made for these names as well.",
    ),
    Rule(
        "certificate-weak-key",
        "A certificate's key is too short",
        Severity.HIGH,
        "Each certificate and what signs it: RSA below 2048 bits, EC below 224, DSA.",
        "Who breaks the key is taken for the server.",
        _ANEW,
    ),
    Rule(
        "certificate-weak-signature",
        "A certificate is signed with MD5 or SHA-1",
        Severity.HIGH,
        "Each certificate and what signs it, but for roots.",
        "Another certificate can be made that has the same signature.",
        _ANEW,
    ),
    Rule(
        "certificate-chain",
        "A chain of certificates has a gap",
        Severity.HIGH,
        "Each TLS Secret: whether each of its certificates is signed by the next.",
        "Clients that do not know what lacks do not trust it.",
        "Put the certificates in order: the server's own, then each that signs the one before.",
    ),
    Rule(
        "certificate-key",
        "A certificate and its key are of two pairs",
        Severity.CRITICAL,
        "Each TLS Secret: whether its key is that of its certificate.",
        "No server starts with them.",
        "Put certificate and key of one pair into the Secret.",
    ),
    Rule(
        "certificate-trust",
        "A client does not trust a certificate",
        Severity.HIGH,
        "The API server and `certificates.endpoints`, by a handshake with `certificates.ca_file`, or the system's roots.",
        "Clients turn away, or were told to look at none.",
        "Have the server send what is between its own and the root, or name its root in `certificates.ca_file`.",
    ),
)
