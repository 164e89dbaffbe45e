"""What people are told of a window, and when: a state machine, pure.

`advance` turns what was told last into what is to be told next. Each step counts up, and the count is in the notice's key:
as notices with one key go out once, so does each step, whoever takes it and however often. The step is saved with its
notice before that is sent, and the notice is sent again until the window is over: where a service was away it comes late,
where it was not nothing comes twice.

A window is announced at its type's time of notice, or late where nobody looked then; late enough, it is told to be open
now. Of one that was announced people are told when it moves, and when it does not take place or ends early. What happens
to a window that nobody was told of, nobody is told. Nothing is told of a window that is over.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from g3zkp_maint.notices.base import Notice, Severity
from g3zkp_maint.windows.plan import Occurrence
from g3zkp_maint.windows.spoken import moment, shown, span
from g3zkp_maint.windows.window import Window

#: A notice that is later than this says so.
PUNCTUAL = timedelta(minutes=30)
#: So long a notice is sent again to services that were away; shorter than it is known which had it (`notices.keep_days`).
INSISTENCE = timedelta(days=20)

State = Literal["announced", "open", "off"]
_SEVERITY: dict[str, Severity] = {"announced": Severity.INFO, "open": Severity.INFO, "off": Severity.WARNING}


class Told(BaseModel):
    """What people know of a window: that it is `announced` for start to end, or `open`, or `off`. `title` and `body` are
    the notice that told it at `at`, under `key`; until `until` it is worth sending."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    state: State
    start: AwareDatetime
    end: AwareDatetime
    until: AwareDatetime
    at: AwareDatetime
    key: str
    title: str
    body: str
    severity: Severity

    def notice(self) -> Notice:
        return Notice(self.key, self.title, self.body, self.severity, self.at)


def advance(occurrence: Occurrence, told: Told | None, now: datetime) -> Told | None:
    """What is to be told now; None when people know what there is to know."""
    window = occurrence.window
    if told is None or told.state == "off":
        return _first(occurrence, told, now)
    if now >= told.end and now >= window.end:
        return None
    is_off = not occurrence.takes_place or (window.stop is not None and window.until <= now)
    if is_off:
        return _told(occurrence, told, now, "off", until=told.end) if now < told.end else None
    if (window.start, window.end) != (told.start, told.end) and now < window.end:
        return _told(occurrence, told, now, _state_of(window, now), until=window.end)
    return None


def _first(occurrence: Occurrence, told: Told | None, now: datetime) -> Told | None:
    window = occurrence.window
    if not occurrence.takes_place or not window.notice_due <= now < window.until:
        return None
    return _told(occurrence, told, now, _state_of(window, now), until=window.end)


def _state_of(window: Window, now: datetime) -> State:
    return "announced" if now < window.start else "open"


def _told(occurrence: Occurrence, before: Told | None, now: datetime, state: State, *, until: datetime) -> Told:
    window = occurrence.window
    count = 1 if before is None else before.count + 1
    severity = Severity.WARNING if window.emergency else _SEVERITY[state]
    return Told(
        count=count,
        state=state,
        start=window.start,
        end=window.end,
        until=min(until, now + INSISTENCE),
        at=now,
        key=f"window:{window.id}:{count}",
        title=_title(window, before, now, state),
        body="\n".join(_body(occurrence, before, now, state)),
        severity=severity,
    )


# -- the words -------------------------------------------------------------------------------------------------------------


def _title(window: Window, before: Told | None, now: datetime, state: State) -> str:
    subject = "Emergency maintenance" if window.emergency else "Maintenance"
    news = _why_it_is_off(window, now) if state == "off" else _what_is_new(before, state)
    return f"{subject}{news}: {span(window.start, window.end)}"


def _why_it_is_off(window: Window, now: datetime) -> str:
    if window.verdict == "absorbed":
        return " is now a part of a longer one"
    return " does not take place" if now < window.start else " has ended early"


def _what_is_new(before: Told | None, state: State) -> str:
    if state == "open":
        return " is under way"
    if before is None:
        return ""
    return " takes place after all" if before.state == "off" else " has been changed"


def _body(occurrence: Occurrence, before: Told | None, now: datetime, state: State) -> list[str]:
    window = occurrence.window
    lines = [f"What: {window.what}", f"When: {span(window.start, window.end)}"]
    if state == "off":
        return [*lines, f"Why: {occurrence.told_why}"]
    if before is not None and before.state != "off":
        lines.append(f"Until now it was to be: {span(before.start, before.end)}")
    lines += [f"How long: {shown(window.length)}", f"What you will notice: {window.impact}"]
    if window.emergency:
        return [*lines, f"Why without the usual notice: {window.reason}"]
    if before is None and now - window.notice_due > PUNCTUAL:
        lines.append(_lateness(window, now))
    return lines


def _lateness(window: Window, now: datetime) -> str:
    left = f"it begins in {shown(window.start - now)}" if now < window.start else "it has begun"
    return f"This notice is late: it was due {moment(window.notice_due)}, {shown(window.terms.notice)} ahead; {left}."
