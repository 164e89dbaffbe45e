"""What the messenger and its Secret tell: disk usage, and when keys were rotated."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from g3zkp_maint.errors import PlatformUnavailable
from g3zkp_maint.platforms.base import SecretData

DISK = "g3zkp_disk_usage_percent"
_MARK = "last-rotation-"
_ANSWER_SECONDS = 5.0
_MOST_BYTES = 1 << 20


def disk_usage(address: str) -> float | None:
    """The used share, in percent, of the messenger at `address`; None where it does not tell.

    Raises PlatformUnavailable where it does not answer. The standard library's client: an HTTP client with redirects,
    proxies and pools would cost the exporter a fifth of its memory.
    """
    parts = urlsplit(address)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.netloc, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/metrics")
        answer = connection.getresponse()
        text = answer.read(_MOST_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise PlatformUnavailable(
            f"the messenger at {address} does not answer /metrics ({type(error).__name__}); is it up?"
        ) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise PlatformUnavailable(f"the messenger at {address} answers /metrics with {answer.status}; see its log")
    return _value(text)


def rotated_at(secret: SecretData) -> dict[str, float]:
    """When keys were rotated last, by type, in seconds since the epoch; what is no time is left out."""
    found = {}
    for name, text in secret.annotations.items():
        if name.startswith(_MARK) and text.isascii() and text.isdigit():
            found[name.removeprefix(_MARK)] = float(text)
    return found


def _value(text: str) -> float | None:
    """Of the plain form that Prometheus reads: name, labels or none, value, and perhaps a time."""
    for line in text.splitlines():
        name, _, rest = line.replace("{", " {", 1).partition(" ")
        words = rest.rpartition("}")[2].split()
        if name == DISK and words:
            try:
                return float(words[0])
            except ValueError:
                return None
    return None
