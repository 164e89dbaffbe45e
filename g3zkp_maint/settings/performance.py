"""How much load the weekly benchmark may make, and from when on a figure counts as worse."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from g3zkp_maint.settings.group import Count, Group, Positive, Seconds


class Performance(Group):
    """The weekly benchmark. It never runs where the messenger is not well, or a maintenance window is open."""

    requests: Positive = Field(600, description="of each path at most; each path of each instance is asked in turn")
    seconds: Seconds = Field(10, description="for each path at most")
    rounds: Positive = Field(5, description="in so many rounds: a figure is the median over them")
    side_by_side: Positive = Field(2, description="so many requests at once")
    look_into_messenger: bool = Field(
        True, description="write and read a scratch file on the messenger's volume, by a command in the messenger"
    )
    volume_mib: Count = Field(32, description="the size of that file in MiB; 0: none")
    worse_percent: Annotated[float, Field(gt=0)] = Field(10, description="worse by more, and significantly: a finding")
    compare_runs: Positive = Field(12, description="with the median of so many earlier runs at most")
    least_runs: Positive = Field(4, description="with fewer than these nothing is compared")
