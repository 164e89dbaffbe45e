"""What expires in the messenger, and when it is not deleted after all."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from g3zkp_maint.settings.group import Group, Hours, Positive, Seconds

Days = Annotated[float, Field(gt=0, le=36500)]
SomeHours = Annotated[float, Field(gt=0, le=876000)]


class Cleanup(Group):
    """The daily deletion of what has expired. `force` and a reason go below a floor, nothing goes past the backup."""

    messages_days: Days = Field(30, description="messages older than this are deleted")
    proofs_days: Days = Field(7, description="proofs older than this are deleted")
    sessions_hours: SomeHours = Field(24, description="sessions that were inactive for longer are deleted")
    messages_floor_hours: Hours = Field(24, description="a shorter retention of messages needs force and a reason")
    proofs_floor_hours: Hours = Field(24, description="the same for proofs")
    sessions_floor_hours: Hours = Field(1, description="the same for sessions")
    backup_age_hours: SomeHours = Field(36, description="nothing is deleted when the newest valid backup is older")
    step_seconds: Seconds = Field(1800, description="how long one call of the messenger may take")
    housekeeping_days: Positive | None = Field(
        None, description="kubernetes: finished Jobs and failed pods older than this are deleted; none: they stay"
    )
