"""Findings that are known and borne for a time: by check and object, until a day, for a reason.

A file in TOML (`audit.waivers`). A waiver means one object and no more, so that it hides nothing that comes later:

    [[waiver]]
    check = "service-exposed"
    object = "Service/g3zkp/g3zkp-service"
    until = 2027-03-31
    reason = "behind the load balancer's own TLS until the Ingress is there, TICKET-17"
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from g3zkp_maint.audit.check import Found, Rule
from g3zkp_maint.audit.finding import Finding, Severity, worst_first
from g3zkp_maint.errors import SettingsError

_Text = Annotated[str, Field(min_length=1, pattern=r"\S")]

EXPIRED = Rule(
    "waiver-expired",
    "A waiver is past its day",
    Severity.MEDIUM,
    "The waivers (`audit.waivers`) against the day of the scan.",
    "What was to be borne for a time is still there.",
    "Mend what it is about; or waive it anew, with another day.",
)
UNMATCHED = Rule(
    "waiver-unmatched",
    "A waiver is about nothing",
    Severity.LOW,
    "The waivers of checks that saw all they were to see, against their findings. Medium where no check has that id.",
    "It would hide the finding when it comes again; under an id that is none it hides nothing.",
    "Remove it from the file, or put the check's id right.",
)


class Waiver(BaseModel):
    """See the module. `until` is the last day, in UTC, on which it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: _Text
    object: _Text
    until: date
    reason: _Text

    def holds(self, at: datetime) -> bool:
        return at.date() <= self.until


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    waiver: tuple[Waiver, ...] = ()


@dataclass(frozen=True, slots=True)
class Waived:
    """A finding that is borne, and by which waiver."""

    finding: Finding
    waiver: Waiver


@dataclass(frozen=True, slots=True)
class Weighed:
    """`findings` are those that count, those about waivers among them; worst first."""

    findings: tuple[Finding, ...]
    waived: tuple[Waived, ...]


def read(path: Path | None) -> tuple[Waiver, ...]:
    """None: there are none. Raises SettingsError for a file that cannot be read or holds something else, and for two about the same."""
    if path is None:
        return ()
    try:
        found = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).waiver
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"audit.waivers={path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(
            f"audit.waivers={path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; see docs/audit.md"
        ) from None
    seen: set[tuple[str, str]] = set()
    for one in found:
        if (one.check, one.object) in seen:
            raise SettingsError(f"audit.waivers={path}: there are two for {one.check} of {one.object}; remove one")
        seen.add((one.check, one.object))
    return found


def weigh(
    findings: Iterable[Finding],
    waivers: Iterable[Waiver],
    *,
    known: Collection[str],
    sure: Collection[str],
    at: datetime,
) -> Weighed:
    """`known` are all checks that there are, `sure` those that saw all they were to see: a waiver of a known one that is
    not sure is left alone."""
    found, listed = list(findings), list(waivers)
    by_key = {(one.check, one.object): one for one in listed if one.holds(at)}
    waived = [Waived(one, by_key[one.key]) for one in found if one.key in by_key]
    counting = [one for one in found if one.key not in by_key]
    about = _about(listed, {one.key for one in found}, known, sure, at)
    return Weighed(worst_first([*counting, *about]), tuple(waived))


def _about(
    waivers: Iterable[Waiver],
    found: set[tuple[str, str]],
    known: Collection[str],
    sure: Collection[str],
    at: datetime,
) -> Iterator[Finding]:
    for one in waivers:
        what = f"Waiver/{one.check}/{one.object}"
        if (one.check, one.object) in found:
            if not one.holds(at):
                yield EXPIRED.finding(Found(what, f"held until {one.until}: {one.reason}"))
        elif one.check not in known:
            evidence = f"there is no check {one.check!r} (g3zkp-maint audit list shows those there are): {one.reason}"
            yield UNMATCHED.finding(Found(what, evidence, Severity.MEDIUM))
        elif one.check in sure:
            yield UNMATCHED.finding(Found(what, f"{one.check} finds nothing of that object: {one.reason}"))
