"""The exporter of metrics."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from g3zkp_maint.settings.group import Group, Seconds


class Metrics(Group):
    """The exporter: what it listens on, and what it looks at."""

    address: str = Field(
        "127.0.0.1", description="the address it listens on; in a pod 0.0.0.0. It has no password: keep it inside"
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(9309, description="its port; 0: a free one")
    refresh_seconds: Seconds = Field(
        300, description="how often store, keys and messenger are looked at; queues and journal at each scrape"
    )
    present_seconds: Seconds = Field(
        30, description="a worker that was silent for longer is not counted; workers tell of themselves every 4 s"
    )
    look_into_store: bool = Field(
        True, description="read the store for the newest backup and drill; needs keys.trusted_signers"
    )
    look_into_secret: bool = Field(
        True,
        description="read the age of keys from the messenger's Secret; off where it may not be read: from the journal",
    )
    ask_messenger: bool = Field(True, description="ask the messenger's /metrics for its disk usage")
