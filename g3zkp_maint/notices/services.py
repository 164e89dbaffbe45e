"""Notices by Apprise: one URL for each of a hundred services (https://github.com/caronc/apprise/wiki).

These URLs hold tokens and passwords. So they are shown nowhere, what Apprise itself logs of them goes nowhere, and an
error names a service by its place in the list and its scheme. Apprise is loaded when the first notice is sent by it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from g3zkp_maint.errors import NoticeNotSent, SettingsError
from g3zkp_maint.notices.base import Notice


class ServiceNotifier:
    """See Notifier. `place` counts from 1, as in the settings."""

    def __init__(self, url: SecretStr, place: int) -> None:
        self._url = url
        scheme = url.get_secret_value().partition("://")[0].strip().lower()
        self.name = f"{place}-{scheme if scheme.isalnum() else 'unknown'}"

    def send(self, notice: Notice) -> None:
        """See Notifier. Raises SettingsError for a URL that Apprise does not know."""
        service = self._service()
        try:
            taken = service.notify(title=notice.title, body=notice.body, notify_type=str(notice.severity))
        except Exception as error:  # noqa: BLE001 -- plugins raise what they like, and its text may hold the URL
            raise NoticeNotSent(_told(self.name, notice, f"it failed with {type(error).__name__}")) from None
        if not taken:
            raise NoticeNotSent(_told(self.name, notice, "it did not take it"))

    def _service(self) -> Any:
        import apprise  # noqa: PLC0415 -- takes a fifth of a second; most processes send nothing

        _hush()
        service = apprise.Apprise.instantiate(self._url.get_secret_value(), suppress_exceptions=True)
        if service is None:
            raise SettingsError(
                f"notices.urls: Apprise knows no service of the form of number {self.name}; see its documentation (the "
                "value is not shown, it may hold a password)"
            )
        return service


def read_urls(path: Path) -> tuple[SecretStr, ...]:
    """One URL a line; empty lines and those that begin with # count for nothing. Raises SettingsError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"notices.urls_file={path} cannot be read: {type(error).__name__}; create it, mode 0600"
        ) from None
    return tuple(SecretStr(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#"))


def services_of(urls: Sequence[SecretStr]) -> tuple[ServiceNotifier, ...]:
    return tuple(ServiceNotifier(url, place) for place, url in enumerate(urls, start=1))


def _told(name: str, notice: Notice, why: str) -> str:
    return (
        f"notice {notice.key} did not go out by service number {name}: {why}; it is tried again. Is the service up, and "
        "its URL in notices.urls right?"
    )


def _hush() -> None:
    for name in ("apprise", "urllib3", "requests"):
        logger = logging.getLogger(name)
        if name == "apprise":
            logger.propagate = False
            logger.handlers = [logging.NullHandler()]
        # Below warning these log whole addresses.
        logger.setLevel(max(logger.level, logging.WARNING))
