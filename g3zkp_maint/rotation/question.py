"""A question to the messenger whose answer, or whose failure, may hold a new key.

What the messenger prints or throws is shown with everything masked that could be a key, and the errors in which it
stands as it was go no further: neither as a cause, whose text a log would show.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import (
    DeadlineExceeded,
    LeaseLost,
    MaintenanceError,
    MessengerCallFailed,
    MessengerUnfit,
    PermanentError,
    PlatformUnavailable,
    StreamBroken,
    TemporaryError,
    UnknownWorkload,
)
from g3zkp_maint.messenger_call import call
from g3zkp_maint.platforms.base import Platform
from g3zkp_maint.scrubbing import MASK, scrub_text

_SHOWN = 400
#: In base64, 16 bytes have 24 characters; in hex, 32.
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{20,}")


def ask(
    platform: Platform,
    script: str,
    *,
    what: str,
    args: Sequence[Any],
    guard: Guard,
    seconds: float,
    failure: type[PermanentError],
    instance: str | None = None,
) -> Any:
    """What `script` answers, unchecked; see messenger_call. `what` names the question in errors.

    Raises `failure` where the messenger refused, died, hung or gave no answer; StreamBroken where its instance went
    away, PlatformUnavailable, MessengerUnfit, LeaseLost.
    """
    try:
        return call(platform, script, timeout_seconds=seconds, args=args, guard=guard, instance=instance)
    except LeaseLost:
        raise
    except MaintenanceError as error:
        told = _told(error, what, failure)
    raise told


def _told(error: MaintenanceError, what: str, failure: type[PermanentError]) -> MaintenanceError:
    text = f"{what}: {shown(str(error))}"
    if isinstance(error, MessengerCallFailed):
        return failure(text)
    for kind in (StreamBroken, PlatformUnavailable, DeadlineExceeded, MessengerUnfit, UnknownWorkload):
        if isinstance(error, kind):
            return kind(text)
    return TemporaryError(text) if isinstance(error, TemporaryError) else failure(text)


def shown(text: str) -> str:
    """On one line, not too long, and without anything that could be a key."""
    return _LONG_WORD.sub(MASK, " ".join(scrub_text(text).split()))[:_SHOWN]
