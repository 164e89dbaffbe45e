"""Notices as log lines: always there, whatever else is."""

from __future__ import annotations

import logging

import structlog

from g3zkp_maint.notices.base import Notice, Severity

_log = structlog.get_logger(__name__)
_LEVELS = {Severity.FAILURE: logging.ERROR, Severity.WARNING: logging.WARNING}


class LogNotifier:
    """See Notifier."""

    name = "log"

    def send(self, notice: Notice) -> None:
        _log.log(
            _LEVELS.get(notice.severity, logging.INFO),
            "notice",
            key=notice.key,
            title=notice.title,
            body=notice.body,
            severity=str(notice.severity),
            at=notice.at.isoformat(),
        )
