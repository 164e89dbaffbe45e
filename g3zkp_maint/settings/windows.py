"""When maintenance may disturb people, and what holds it back."""

from __future__ import annotations

from datetime import date, time, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from g3zkp_maint.settings.group import Group, Positive
from g3zkp_maint.windows.kind import TERMS, Kind


def _is_http(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https:// (the value is not shown, it may hold a password)")
    return url


HttpUrl = Annotated[SecretStr, AfterValidator(_is_http)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
#: Becomes a part of Redis keys, of iCalendar UIDs and of a silence's comment.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
AlertName = Annotated[str, Field(pattern=r"^[A-Za-z_:][A-Za-z0-9_:]*$")]
#: Of a label, as it stands in a matcher.
LabelValue = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9._-]*$")]
#: What people are told in one line.
Line = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class RecurringWindow(Group):
    """`weekday` is for weekly windows, `day` for the others: quarterly are January, April, July, October. `what` and
    `impact` are what people are told; '' for the type's own words."""

    name: Name
    kind: Kind
    every: Literal["week", "month", "quarter"]
    weekday: Weekday | None = None
    day: Annotated[int, Field(ge=1, le=28)] | None = None
    at: time
    minutes: Positive
    what: Line = ""
    impact: Line = ""

    @model_validator(mode="after")
    def _makes_sense(self) -> RecurringWindow:
        wanted, other = ("weekday", "day") if self.every == "week" else ("day", "weekday")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"window {self.name!r}: every {self.every} goes with {wanted}, and without {other}")
        if self.at.tzinfo is not None or self.at.second or self.at.microsecond:
            raise ValueError(f"window {self.name!r}: at={self.at} must be HH:MM, in UTC")
        terms = TERMS[self.kind]
        if not terms.shortest <= timedelta(minutes=self.minutes) <= terms.longest:
            low, high = (round(one.total_seconds() / 60) for one in (terms.shortest, terms.longest))
            raise ValueError(f"window {self.name!r}: a {self.kind} window lasts {low} to {high} minutes")
        return self


class Freeze(Group):
    """Days, the last one included (UTC), on which no window takes place, save emergencies."""

    first: date
    last: date
    why: Annotated[Line, Field(min_length=1)]

    @model_validator(mode="after")
    def _is_ordered(self) -> Freeze:
        if self.last < self.first:
            raise ValueError(f"freeze {self.why!r}: last={self.last} is before first={self.first}")
        return self


WEEKLY = RecurringWindow(name="weekly", kind=Kind.MINOR, every="week", weekday="sunday", at=time(3), minutes=30)


class Windows(Group):
    """Maintenance windows: disruptive work (rotation of keys, restores) starts only in one, or with force and a reason."""

    recurring: tuple[RecurringWindow, ...] = Field(
        (WEEKLY,),
        description="windows that come again and again, UTC; by default the one that the rotation of keys needs",
    )
    freezes: tuple[Freeze, ...] = Field((), description="days without windows: first, last (included), why")
    wait_minutes: Positive = Field(
        15, description="work that comes so early waits for the window's start; else it is refused"
    )
    restore_minutes: Positive = Field(
        10, description="how long a restore is taken to need besides its bytes; longer where the journal knows of one"
    )
    restore_mib_per_second: Positive = Field(20, description="how fast its bytes are taken to come back, all in all")
    alertmanager_url: HttpUrl | None = Field(
        None,
        description="Alertmanager, http://host:9093: silences for windows, alerts that hold work back; unset: neither",
    )
    alertmanager_down: Literal["hold", "go"] = Field(
        "hold", description="what becomes of disruptive work while Alertmanager does not answer"
    )
    alert_namespace: LabelValue | None = Field(
        None,
        description="label `namespace` of this installation's alerts, '' where they carry none; "
        "unset: platform.namespace where platform.kind is kubernetes, else ''",
    )
    holding_alerts: tuple[AlertName, ...] = Field(
        ("G3ZKPHighErrorRate", "G3ZKPHighLatency", "G3ZKPMaintBackupStale"),
        description="alerts that hold disruptive work back while they fire; a restore is held by none",
    )
    silenced_alerts: tuple[AlertName, ...] = Field(
        ("G3ZKPHighErrorRate", "G3ZKPHighLatency", "G3ZKPProofGenerationSlow", "G3ZKPMessengerUnhealthy"),
        description="alerts that are silenced for the time of a window: what restarts cause",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Windows:
        names = [one.name for one in self.recurring]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"recurring windows named twice: {', '.join(twice)}")
        return self
