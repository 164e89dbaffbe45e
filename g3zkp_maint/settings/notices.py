"""By what people are told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from g3zkp_maint.settings.group import Group


class Notices(Group):
    """Each notice is a log line; with URLs of Apprise (github.com/caronc/apprise/wiki) also a message by each of them."""

    urls: tuple[SecretStr, ...] = Field((), description="Apprise URLs, which hold tokens; better in a file")
    urls_file: Path | None = Field(None, description="a file with one Apprise URL a line; # begins a comment")
    keep_days: Annotated[int, Field(ge=30)] = Field(
        90,
        description="how long it is known that a notice has gone out; 30 at least, as windows are told two weeks ahead",
    )
