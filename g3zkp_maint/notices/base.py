"""The port to whoever tells people: a notice, and what takes it to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from g3zkp_maint.errors import BadInput

_KEY = re.compile(r"[!-~]{1,200}")


class Severity(StrEnum):
    """In the words that services of this kind share."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told. `key` names the occasion: of notices with one key only the first is sent, whoever makes them
    (`health:down:20260302T0305Z`). `title` is one line, `body` plain text in lines; no secret in either. `at` is when what
    it tells of happened, aware.

    Raises BadInput for a key that is none (printable ASCII without blanks) or a title that is empty or not one line.
    """

    key: str
    title: str
    body: str
    severity: Severity
    at: datetime

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise BadInput(f"{self.key[:80]!r} is no key of a notice; it must match {_KEY.pattern}")
        if not self.title.strip() or not self.title.isprintable():
            raise BadInput(f"the title of notice {self.key} must be one line")
        if self.at.tzinfo is None:
            raise BadInput(f"the time of notice {self.key} must be aware")


class Notifier(Protocol):
    """One service. `name` is stable from run to run, and shows no secret."""

    @property
    def name(self) -> str: ...

    def send(self, notice: Notice) -> None:
        """Returns when the service has taken it. Raises NoticeNotSent, SettingsError."""
        ...
