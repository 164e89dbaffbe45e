"""One maintenance window: what is on record of it.

A window that recurs has one for each time it takes place. A record is replaced, never edited in place, and its revision
counts up with each: it is the SEQUENCE of its iCalendar event, and by it two who change a window at once find each other.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from g3zkp_maint.errors import BadInput
from g3zkp_maint.windows.kind import TERMS, Kind, Terms

#: In Redis, in UIDs, in the comments of silences, on the command line.
_ID = re.compile(r"[a-z][a-z0-9-]{0,39}-[0-9]{8}T[0-9]{4}(-[0-9a-f]{4})?")

How = Literal["cancelled", "closed", "withdrawn"]
#: What the plan says of a window: plan.py.
Verdict = Literal["takes place", "stopped", "frozen", "absorbed"]


def _is_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no id of a window")
    return text


class Stop(BaseModel):
    """A window that does not take place, or not to its end: `cancelled` before it began, `closed` while it was open,
    `withdrawn` as the settings name it no more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    how: How
    why: str
    by: str


class Window(BaseModel):
    """Times are UTC. `emergency`: without notice, for `reason`. `by` is who planned it, `settings` for those that recur.
    `verdict` is a part of the record so that a change of it is a revision, too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, AfterValidator(_is_id)]
    kind: Kind
    start: AwareDatetime
    end: AwareDatetime
    what: str
    impact: str
    recurs: bool
    by: str
    emergency: bool = False
    reason: str = ""
    revision: Annotated[int, Field(ge=0)] = 0
    changed_at: AwareDatetime
    stop: Stop | None = None
    verdict: Verdict = "takes place"

    @property
    def terms(self) -> Terms:
        return TERMS[self.kind]

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    @property
    def until(self) -> datetime:
        """When it ends, or has been ended."""
        return self.end if self.stop is None else max(self.start, min(self.stop.at, self.end))

    @property
    def notice_due(self) -> datetime:
        """When people are to be told. Of an emergency: as soon as it is known."""
        return self.changed_at if self.emergency else self.start - self.terms.notice

    def meets(self, start: datetime, end: datetime) -> bool:
        """Whether some of it lies in start <= t < end."""
        return self.start < end and start < self.until

    def replaced(self, at: datetime, **changes: Any) -> Window:
        """The record that follows this one."""
        return self.model_copy(update={**changes, "revision": self.revision + 1, "changed_at": at})


def window_id(name: str, start: datetime, suffix: str = "") -> str:
    """`weekly-20261129T0300`; one-off ones end in four hex digits. Raises BadInput for a name that is none."""
    text = "-".join(part for part in (name, f"{start:%Y%m%dT%H%M}", suffix) if part)
    if not _ID.fullmatch(text):
        raise BadInput(f"window name {name!r}: small letters, digits and dashes, at most 40")
    return text
