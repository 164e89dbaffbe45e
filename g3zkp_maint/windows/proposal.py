"""What an operator plans, opens and closes, checked against what is planned: pure, or a BadInput that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from g3zkp_maint.errors import BadInput
from g3zkp_maint.settings.windows import Freeze
from g3zkp_maint.windows.kind import TERMS, Kind
from g3zkp_maint.windows.plan import HORIZON, LOOK_BACK, Occurrence, freeze_at
from g3zkp_maint.windows.spoken import moment, shown
from g3zkp_maint.windows.window import Stop, Window, window_id

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A window that is to be. `what` and `impact` '': the type's own words."""

    kind: Kind
    start: datetime
    end: datetime
    by: str
    what: str = ""
    impact: str = ""
    emergency: bool = False
    reason: str = ""


def kind_of(text: str) -> Kind:
    """Raises BadInput."""
    try:
        return Kind(text)
    except ValueError:
        raise BadInput(f"{text!r} is no type of window; there are {', '.join(Kind)}") from None


def propose(
    wish: Proposal, plan: Sequence[Occurrence], freezes: Sequence[Freeze], now: datetime, *, suffix: str
) -> Window:
    """The window, which takes place; `suffix` (four hex digits) tells it from others that begin in that minute.

    Raises BadInput: times that make no sense, a length that the type does not have, an emergency without a reason, too
    little time for the notice, a freeze, an overlap with a window of this type or a higher one.
    """
    _check_times(wish, now)
    terms = TERMS[wish.kind]
    if wish.emergency:
        if not wish.reason.strip():
            raise BadInput("an emergency window needs a reason: people are told, and the journal keeps it")
    else:
        _check_length(wish)
        _check_notice(wish, now)
        _check_freeze(wish, freezes)
        _check_overlap(wish, plan)
    name = f"emergency-{wish.kind}" if wish.emergency else str(wish.kind)
    return Window(
        id=window_id(name, wish.start, suffix),
        kind=wish.kind,
        start=wish.start,
        end=wish.end,
        what=_line(wish.what, "what is done") or terms.what,
        impact=_line(wish.impact, "what is noticed") or terms.impact,
        recurs=False,
        by=wish.by,
        emergency=wish.emergency,
        reason=_line(wish.reason, "the reason"),
        changed_at=now,
    )


def stopped(id: str, plan: Sequence[Occurrence], now: datetime, *, why: str, by: str) -> Window:
    """The window, closed if it is open, cancelled if it is to come. Raises BadInput."""
    found = next((one for one in plan if one.window.id == id), None)
    if found is None:
        raise BadInput(f"no window {id!r} is planned or open; `g3zkp-maint windows list` names them")
    window = found.window
    if window.stop is not None:
        raise BadInput(f"window {id} was {window.stop.how} already, by {window.stop.by}: {window.stop.why}")
    if not why.strip():
        raise BadInput("closing a window needs --reason TEXT: people are told")
    stop = Stop(at=now, how="closed" if found.is_open(now) else "cancelled", why=_line(why, "the reason"), by=by)
    return window.replaced(now, stop=stop, verdict=window.verdict if stop.how == "closed" else "stopped")


def _check_times(wish: Proposal, now: datetime) -> None:
    if any(one.second or one.microsecond for one in (wish.start, wish.end)):
        raise BadInput("windows begin and end in whole minutes")
    if wish.end <= wish.start:
        raise BadInput(f"the window would end ({moment(wish.end)}) before it begins ({moment(wish.start)})")
    if wish.start < now - _MINUTE:
        raise BadInput(f"{moment(wish.start)} is in the past; it is {moment(now)}")
    if wish.start - now > HORIZON - LOOK_BACK:
        raise BadInput(f"{moment(wish.start)} is further ahead than {(HORIZON - LOOK_BACK).days} days; plan it later")
    if wish.end - wish.start > LOOK_BACK:
        raise BadInput("no window lasts longer than a day")


def _check_length(wish: Proposal) -> None:
    terms = TERMS[wish.kind]
    if not terms.shortest <= wish.end - wish.start <= terms.longest:
        allowed = " to ".join(dict.fromkeys((shown(terms.shortest), shown(terms.longest))))
        raise BadInput(f"a {wish.kind} window lasts {allowed}, not {shown(wish.end - wish.start)}; take another type")


def _check_notice(wish: Proposal, now: datetime) -> None:
    notice = TERMS[wish.kind].notice
    if wish.start - now < notice:
        raise BadInput(
            f"a {wish.kind} window is told {shown(notice)} ahead: it can begin {moment(now + notice)} or later. What cannot "
            "wait is an emergency, which needs a reason"
        )


def _check_freeze(wish: Proposal, freezes: Sequence[Freeze]) -> None:
    freeze = freeze_at(freezes, wish.start, wish.end)
    if freeze is not None:
        raise BadInput(
            f"no window from {freeze.first} to {freeze.last}: {freeze.why}; take another day. What cannot wait is an emergency"
        )


def _check_overlap(wish: Proposal, plan: Sequence[Occurrence]) -> None:
    rank = TERMS[wish.kind].rank
    for other in (one.window for one in plan if one.takes_place and not one.window.emergency):
        if other.terms.rank >= rank and other.meets(wish.start, wish.end):
            raise BadInput(
                f"it would overlap the {other.kind} window {other.id}, {moment(other.start)} for {shown(other.length)}: do the "
                "work in that, take another time, or close that one first"
            )


def _line(text: str, what: str) -> str:
    found = text.strip()
    if not found.isprintable() or len(found) > 200:
        raise BadInput(f"{what} must be one line of at most 200 characters")
    return found
