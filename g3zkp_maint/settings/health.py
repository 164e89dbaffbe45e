"""When the messenger counts as well, and when people are told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from g3zkp_maint.settings.group import Group, Positive, Seconds


class Health(Group):
    """The check every five minutes. Of several states the messenger is in the worst that its checks have shown for long
    enough."""

    timeout_seconds: Seconds = Field(5, description="how long each try of a path may take")
    tries: Positive = Field(3, description="of each path, before it counts as failed")
    ask_instances: bool = Field(
        True,
        description="ask each instance at its own address, the benchmark too; off where pods cannot be reached from here: then "
        "the cluster is asked for their readiness, and the messenger's one address measured",
    )
    slow_seconds: Seconds = Field(2, description="an answer that takes longer makes a check a degraded one")
    down_checks: Positive = Field(1, description="so many checks in a row that find it down: it is down")
    degraded_checks: Positive = Field(2, description="so many that find it degraded, or worse: it is degraded")
    recover_checks: Positive = Field(2, description="so many that find it better than it was: it is better")
    remind_hours: Annotated[float, Field(gt=0)] | None = Field(
        4, description="while it is not well, a notice again after this; none: never"
    )
