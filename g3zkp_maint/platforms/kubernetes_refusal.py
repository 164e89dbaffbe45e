"""What an API server means by refusing, as errors of the product.

The server answers with a `Status` object: reason, message, and details about which object
(https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/).
"""

from __future__ import annotations

import json
import re
from typing import Any

from g3zkp_maint.errors import (
    Conflict,
    MaintenanceError,
    ObjectRefused,
    PlatformDenied,
    PlatformError,
    PlatformUnavailable,
    UnknownWorkload,
)
from g3zkp_maint.scrubbing import scrub_text

_SHOWN = 600
_MISSING_RIGHT = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
_RETRY_SECONDS = 1.0
_NAMED = 5
_WHYS = ("field is immutable", "provided port is already allocated", "must be unique")


def refusal(
    status: int, body: bytes | None, *, method: str, path: str, retry_after: float | None = None
) -> MaintenanceError:
    """The error for an answer with HTTP status `status`, to be raised. `path` is shown, `body` only where it cannot hold
    a secret: a server that cannot read what it was sent quotes it."""
    said = _message(body)
    where = f"{method} {path}"
    if status in {401, 403}:
        return PlatformDenied(_unknown(where) if status == 401 else _denied(said, where))
    if status == 404:
        return UnknownWorkload(f"there is none such in the cluster: {said or where}")
    if status == 409:
        return Conflict(f"another changed or made it meanwhile: {said or where}; read it again and decide again")
    if status == 429 or status >= 500:
        message = f"the API server cannot do it now ({where}: {status}): {said}"
        return PlatformUnavailable(message, retry_after_seconds=_RETRY_SECONDS if retry_after is None else retry_after)
    if status == 422:
        return ObjectRefused(f"the API server finds {_invalid(body)} ({where}: 422)")
    shown = "what it said is not shown, it may hold secrets" if "/secrets" in path else said
    return PlatformError(f"the API server refuses {where} ({status}): {shown}")


def _unknown(where: str) -> str:
    return (
        f"the API server does not know who asks ({where}: 401): the token or certificate is wrong or has ended; renew "
        "the credentials in the kubeconfig, or the pod's ServiceAccount"
    )


def _denied(said: str, where: str) -> str:
    found = _MISSING_RIGHT.search(said)
    if found is None:
        return f"the API server forbids {where} (403): {said}; an admission rule or a missing right"
    resource = found["resource"] + (f".{found['group']}" if found["group"] else "")
    namespace = f"in namespace {found['namespace']}" if found["namespace"] else "in the whole cluster"
    return (
        f"{found['user']} may not {found['verb']} {resource} {namespace}: "
        f"add the verb {found['verb']!r} on {found['resource']!r} to its Role"
    )


def _invalid(body: bytes | None) -> str:
    """Which fields are wrong and how, without the values that the message quotes: any could be a secret."""
    try:
        causes = json.loads(body or b"")["details"]["causes"]
        faults = [f"{one['field']} {_fault(one.get('reason', ''), one.get('message', ''))}" for one in causes]
    except (ValueError, KeyError, TypeError):
        return "the object invalid"
    more = f" and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    return "; ".join(faults[:_NAMED]) + more


def _fault(reason: str, message: str) -> str:
    # Of these two kinds of message the text is the server's own, of all others it quotes what it was sent.
    if reason in {"FieldValueForbidden", "FieldValueRequired"}:
        return message
    ending = next((one for one in _WHYS if message.endswith(one)), "")
    return f"{reason or 'invalid'}{f': {ending}' if ending else ''}"


def _message(body: bytes | None) -> str:
    """The Status's message, or the beginning of whatever a proxy in between has said."""
    text = (body or b"").decode(errors="replace")
    try:
        status: Any = json.loads(text)
    except ValueError:
        return scrub_text(text.strip())[:_SHOWN]
    message = status.get("message") if isinstance(status, dict) else None
    return scrub_text(str(message or text))[:_SHOWN]
