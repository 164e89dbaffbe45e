"""Structured logs: one JSON object a line on stderr, or lines for people.

What stdlib `logging` gets (Celery, kombu, redis) goes through the same processors, so that a fleet's log is one format.
Secrets are kept out at the source; `scrub` is the last net under it, and no reason to log one.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from g3zkp_maint.scrubbing import MASK, scrub_text

__all__ = ["MASK", "Level", "configure", "scrub", "scrub_text"]

Level = Literal["debug", "info", "warning", "error"]

_SECRET_KEY = re.compile(r"passw|passphrase|secret|token|credential|authorization|private_?key|api_?key", re.IGNORECASE)


def configure(*, level: Level = "info", json_lines: bool = True, stream: TextIO | None = None) -> None:
    """Sets up structlog and the root logger, in place of whatever handlers were there; `stream` defaults to stderr."""
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared(), processors=_rendering(json_lines))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Masks values whose key names a secret, credentials in URLs, and private keys, at any depth."""
    return {key: _scrubbed(key, value) for key, value in event.items()}


def _scrubbed(key: str, value: Any) -> Any:
    if isinstance(value, int | float | None):  # a fencing token is a number, and no secret
        return value
    if _SECRET_KEY.search(key):
        return MASK
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, Mapping):
        return {inner: _scrubbed(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed("", item) for item in value]
    return value


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(json_lines: bool) -> list[Processor]:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if not json_lines:
        # The traceback is made text first, so that the net is under it as well.
        return [remove, structlog.processors.format_exc_info, scrub, structlog.dev.ConsoleRenderer(colors=False)]
    return [remove, structlog.processors.format_exc_info, scrub, structlog.processors.JSONRenderer(default=_shown)]


def _shown(value: object) -> str:
    """Bytes and paths in an event are no reason to lose the line."""
    return scrub_text(repr(value))
