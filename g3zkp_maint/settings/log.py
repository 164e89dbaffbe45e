"""Logs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from g3zkp_maint.settings.group import Group


class Log(Group):
    """What the fleets write on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least level that is written")
    json_lines: bool = Field(True, description="JSON lines; else for people")
